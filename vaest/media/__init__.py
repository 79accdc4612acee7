"""Media files to arrays with times, all on one clock: seconds since the container's start."""
