#!/bin/sh
# A home behind a router, and a world of nodes, each in a network namespace of its own:
#
#     home 192.168.1.2 -- 192.168.1.1 router 45.9.0.2 -- 45.9.0.1 world 45.0.N.1
#
# Usage: unshare --map-root-user --net --mount laboratory.sh RULES SERVICE WORLD COMMAND
#   RULES     nftables rules of the router
#   SERVICE   a command run at the router beside everything else
#   WORLD     a command run in the world beside everything else; says a line when it is ready
#   COMMAND   what to run at home; its exit code is that of the laboratory
set -eu
mount -t tmpfs none /run
mkdir /run/netns
at() { place=$1; shift; nsenter --net=/run/netns/"$place" "$@"; }
for place in home router; do
    : > /run/netns/$place
    unshare --net sh -c "mount --bind /proc/self/ns/net /run/netns/$place"
    at $place ip link set lo up
done
ip link set lo up
ip link add lan0 netns /run/netns/home type veth peer name lan1 netns /run/netns/router
ip link add wan0 netns /run/netns/router type veth peer name wan1
at home ip address add 192.168.1.2/24 dev lan0
at home ip link set lan0 up
at home ip route add default via 192.168.1.1
at router ip address add 192.168.1.1/24 dev lan1
at router ip link set lan1 up
at router ip address add 45.9.0.2/24 dev wan0
at router ip link set wan0 up
at router ip route add default via 45.9.0.1
ip address add 45.9.0.1/24 dev wan1
ip link set wan1 up
for number in $(seq 0 23); do ip address add 45.0.$number.1/32 dev lo; done
at router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
echo "$1" | at router nft -f -
at router sh -c "$2" &
service=$!
mkfifo /run/ready
sh -c "$3" > /run/ready &
world=$!
head -n 1 /run/ready > /dev/null
trap 'kill $service $world 2> /dev/null || true' EXIT
at home sh -c "$4"
