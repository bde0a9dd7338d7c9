"""Faults on purpose: a tiny run of the real script is struck, started again, and compared.

schedule.py   which faults, where and when: a pure function of a seed
points.py     the script with marks at the points where it can be struck; it strikes itself
damage.py     what is done to checkpoints while nothing runs
digest.py     what a run has left: SHA-256 of its state and of its files
attempts.py   a process of a run, with at most one fault
cycles.py     a run, its faults and restarts, to its end, and whether that is the reference's
subjects.py   the runs that this is done to
campaigns.py  many of them, and the table that is made of it
growth.py     memory, file descriptors, threads and zombies of a run that is left alone
"""
