"""Evaluation: cases -> answers -> scores -> report and gate. Import from its modules: ``from eval.run import
run_cases``."""
