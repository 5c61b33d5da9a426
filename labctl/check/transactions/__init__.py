"""Transactional consistency of append lists and unique-value registers, after Elle. Start at `checker`."""

from labctl.check.transactions.checker import NAME, check, check_columns
from labctl.check.transactions.columns import Transactions
from labctl.check.transactions.models import Model
from labctl.check.transactions.packing import pack

__all__ = ["NAME", "Model", "Transactions", "check", "check_columns", "pack"]
