"""The machinery of the accuracy-time table: tasks, systems, the plan of cells, their store, and what is made of them."""
