package main

import "github.com/urfave/cli/v2"

func xksDoctorCommand() *cli.Command { return &cli.Command{Name: "doctor"} }
