"""Which labels can be watched for, and those of the settings file on their way into force.

check        can this bundle, with these settings, watch for a label? If not: why
in_settings  the section `labels` of a settings file: applied at the start and when it is edited
reporting    what a worker makes of the labels in force: gauges, readiness, a record for everybody else
"""
