import ArgumentParser

/// The command of the person at home. Each subcommand has a file of its own; a new one is added to the list here.
@main
package struct Deml: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "deml",
        abstract: "Federated learning on the Golem Network: train one model on many machines.",
        discussion: """
            Begin with an example: deml train examples/mnist-mlp.yaml

            Exit codes are those of sysexits.h: 0 done, 64 wrong settings, 65 bad data, 66 a file is missing, 69 too few \
            workers, 70 a bug, 73 a file cannot be created, 74 a file cannot be read or written; 130 stopped by Ctrl-C.
            """,
        version: "deml \(Version.current)",
        subcommands: [
            TrainCommand.self, InitCommand.self, SweepCommand.self, EvaluateCommand.self, PredictCommand.self,
            ShardCommand.self,
            InspectCommand.self,
            CompareCommand.self, ReportCommand.self, DoctorCommand.self, OffersCommand.self, StatusCommand.self,
            PaymentsCommand.self,
        ])

    package init() {}
}
