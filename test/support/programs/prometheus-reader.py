"""What Prometheus's own library for Python understands of the metrics on standard input: JSON, a list of [name, type, labels, value]."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = text_string_to_metric_families(sys.stdin.read())
samples = [[one.name, family.type, one.labels, one.value] for family in families for one in family.samples]
json.dump(samples, sys.stdout)
