from .analyze_settings import AnalyzeSettings as AnalyzeSettings
from .analyze_stage import analyze as analyze
from .reasons import Score as Score
from .reasons import reasons_score as reasons_score
from .summary import summary as summary
