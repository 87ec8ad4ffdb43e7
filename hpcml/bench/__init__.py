"""How campaigns scale: measured at a site, and simulated where nobody can measure.

measured_run         what a run's own records say: costs of molecules, start-up, gaps
campaign_simulation  a campaign as discrete events, from such figures
scaling_runs         strong and weak scaling of the stages, on ranks and nodes that are there
scaling_table        what came out, as a table, a figure and a file that two runs are compared by
"""
