"""Many clips from a table of prompts, on one machine or several.

From below: `rows` reads tables, `tasks` makes clips to make of them, `models` opens what makes
them, `planning` settles and orders them; `stores` are where clips go, `marks` tell which are there;
`maker` makes one, in this process or in those of a crew (`crews`, `processes`, `ray_crew` with
`placement` on its nodes); `driver` hands them out and counts what failed.
"""
