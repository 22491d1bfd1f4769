"""The command line of cma-gym: the only place that reads configurations, prints, and writes files."""
