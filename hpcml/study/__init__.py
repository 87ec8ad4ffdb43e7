"""A study: a grid of trainings explained, scored and told in tables that answer one question.

Do networks predict right for the right reasons, and does it matter?  ``study_settings`` says what
a study's file holds, ``cells`` which trainings it comes to; ``study_program`` is the MPI program
that walks them, ``cell_work`` what it does for one of them, with the data of ``material``;
``study_run`` starts it and keeps account of what failed; ``study_tables``, ``claim`` and
``control_lines`` turn the results into tables, ``study_summary`` and ``study_figures`` these into
a page and pictures.
"""
