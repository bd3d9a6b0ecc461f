"""What `sinfo` says of some clusters."""

#: sinfo -h -o "%P|%a|%l|%D|%G" of one default partition with GPUs of one type
SMALL = """\
main*|up|infinite|1|gpu:fake:4
urgent|up|infinite|1|gpu:fake:4
"""


#: a university: nodes without GPUs are the default, several kinds of GPUs, one partition down
UNIVERSITY = """\
standard*|up|3-00:00:00|212|(null)
long|up|14-00:00:00|40|(null)
gpu|up|1-00:00:00|6|gpu:a100:4(S:0-1),nvme:1
gpu|up|1-00:00:00|12|gpu:v100:2(S:0)
gpu_mig|up|8:00:00|2|gpu:a100_1g.5gb:28(S:0-1)
dev_gpu|up|30:00|1|gpu:a100:4(S:0-1)
old|inact|1-00:00:00|3|gpu:4
"""


#: types that the plugin does not take, counted without a socket, and resources that are no GPUs
HYPHENS = """\
batch*|up|12:00:00|20|gpu:tesla_v100-sxm2-16gb:4,craynetwork:4
bigmem|drain|2-12:30:00|2|shard:8
"""
