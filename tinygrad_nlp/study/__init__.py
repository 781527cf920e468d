"""Looking inside the library: graphs now, the equations and their gradients."""
