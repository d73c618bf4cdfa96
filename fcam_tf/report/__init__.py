"""A report to look at: one HTML file with tables, curves and pictures."""

from fcam_tf.evaluation import HEADLINES as HEADLINES
from fcam_tf.report.page import check_comparable as check_comparable
from fcam_tf.report.page import write_report as write_report
