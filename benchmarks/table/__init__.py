"""Table: tasks, systems, the plan of cells, how one is run, their store, and what is made of them."""
