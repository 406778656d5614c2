"""The steps of an interchange as Airflow tasks: thin, Airflow on the outside only."""

from slussen.operators.acknowledge import AcknowledgeOperator
from slussen.operators.collect import CollectOperator
from slussen.operators.convert import ConvertOperator
from slussen.operators.deliver import DeliverOperator, DeliverSetOperator
from slussen.operators.extract import ExtractOperator
from slussen.operators.gate import GateOperator
from slussen.operators.merge import MergeOperator
from slussen.operators.notify import NotifyOperator
from slussen.operators.offer import OfferOperator
from slussen.operators.render import RenderOperator
from slussen.operators.stage import StageOperator

__all__ = [
    "AcknowledgeOperator",
    "CollectOperator",
    "ConvertOperator",
    "DeliverOperator",
    "DeliverSetOperator",
    "ExtractOperator",
    "GateOperator",
    "MergeOperator",
    "NotifyOperator",
    "OfferOperator",
    "RenderOperator",
    "StageOperator",
]
