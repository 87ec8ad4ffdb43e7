from .foreground import Foreground as Foreground
from .generate_stage import GenerateReport as GenerateReport
from .generate_stage import generate as generate
from .plan.planning import Plan as Plan
from .plan.planning import survey as survey
from .run_status import Status as Status
from .run_status import status as status
