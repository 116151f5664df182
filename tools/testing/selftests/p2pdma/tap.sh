# SPDX-License-Identifier: GPL-2.0
# What the tests written in shell share; each sources it after setting $all, the
# names of its tests. Prints TAP.
#
#   PROGRAM [-l] [-r NAME]...
#
# -l lists all tests, -r runs the named ones, as in programs with the harness. Sets
# $tests, the chosen ones; $here, the program's folder; $dir, a temporary one.

tests=
while getopts lr: option; do
	case $option in
	l)
		# Columns of fixtures and variants, which are empty
		for name in $all; do
			printf '%20s %25s %s\n' "" "" "$name"
		done >&2
		exit 4 ;;
	r)
		tests="$tests $OPTARG" ;;
	*)
		exit 1 ;;
	esac
done
tests=${tests:-$all}

number=0 failed=0
here=$(cd "${0%/*}" && pwd)
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'rm -rf "$dir"' EXIT

echo "TAP version 13"
echo "1..$(echo "$tests" | wc -w)"

is_chosen() {
	case " $(echo $tests) " in
	*" $1 "*) return 0 ;;
	*) return 1 ;;
	esac
}

skip() {
	is_chosen "$1" || return 0
	number=$((number + 1))
	echo "ok $number $1 # SKIP $2"
}

skip_all() {
	for name in $tests; do
		skip "$name" "$1"
	done
	exit 0
}

# run NAME [COMMAND...]: a test that passes if COMMAND does, or the function NAME
run() {
	name=$1
	[ $# -eq 1 ] || shift
	is_chosen "$name" || return 0
	number=$((number + 1))
	if "$@" > "$dir/log" 2>&1; then
		echo "ok $number $name"
	else
		failed=$((failed + 1))
		echo "not ok $number $name"
		sed 's/^/# /' "$dir/log"
	fi
}

# A request to the lab, if there is one; its answer is in $answer
lab() {
	[ -n "$P2PDMA_LAB" ] || return 0
	exec 3<> "$P2PDMA_LAB"
	echo "$1" >&3
	read -r answer <&3
	exec 3>&-
}
