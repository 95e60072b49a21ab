"""The edge: windows, rules and alarms, report by exception, privacy, on the way of each reading through the gateway.

Read engine (the whole step), then windows and tally, rules and conditions, exception, privacy, groups, actions. A state
machine: it decides by stored records and the time it is told, and its state is rows of the store.
"""
