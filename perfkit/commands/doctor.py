"""placeholder"""


def execute() -> int:
    """x"""
    return 0
