package kms

import "strings"

// partitions maps the start of a Region's name to its partition; the first match counts. Regions
// that match none are in "aws". Source: the partitions file of the AWS SDKs (2026). Nothing writes
// to it.
var partitions = [...]struct{ prefix, partition string }{
	{"cn-", "aws-cn"},
	{"us-gov-", "aws-us-gov"},
	{"us-iso-", "aws-iso"},
	{"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"},
	{"us-isof-", "aws-iso-f"},
	{"eusc-", "aws-eusc"},
}

// PartitionOf gives the partition of a Region, such as "aws-cn" for "cn-north-1".
func PartitionOf(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}
