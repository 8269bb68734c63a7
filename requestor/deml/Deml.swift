import ArgumentParser
import Datasets
import Foundation
import Tensors

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
            GenerateCommand.self,
            ShardCommand.self,
            InspectCommand.self, ExportCommand.self,
            CompareCommand.self, ReportCommand.self, DoctorCommand.self, OffersCommand.self, StatusCommand.self,
            PaymentsCommand.self, UICommand.self,
        ])

    package init() {}

    package static func main() async {
        Allocator.limitArenas()
        if let error = unknownCommand(in: Array(CommandLine.arguments.dropFirst())) {
            CommandErrors.say(error.description)
            Foundation.exit(error.exitCode)
        }
        await main(nil)
    }

    /// What is wrong with the first word, where that is to be a command and is none. (The parser would call it an unexpected
    /// argument, and print a usage without the commands.)
    package static func unknownCommand(in arguments: [String]) -> DeMLError? {
        guard let word = arguments.first, !word.hasPrefix("-") else { return nil }
        let names = configuration.subcommands.map { $0._commandName } + ["help"]
        guard !names.contains(word) else { return nil }
        let near = Naming.nearest(word, in: names).map { "did you mean 'deml \($0)'? " } ?? ""
        return DeMLError(
            .usage, "there is no command \(word.quotedForMessage)",
            hint: "\(near)the commands are \(names.joined(separator: ", "))")
    }
}
