"""What people look at: HTML pages, plots, model cards. How something looks decides no result and is in no identity."""
