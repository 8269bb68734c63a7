import ArgumentParser
import Jobs
import NeuralNetwork
import Tensors
import Worker

/// What a provider runs. Everything comes by arguments and files: no environment, no stdin.
@main
struct DemlWorker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deml-worker",
        abstract: "Trains a model on one shard of data and hands back what changed.",
        discussion: """
            Exit codes are those of sysexits.h: 0, 64 usage, 65 data, 66 no input, 70 internal, 73 cannot create, 74 I/O. \
            The report file says the rest.
            """,
        version: demlVersion,
        subcommands: [
            Train.self, Evaluate.self, Predict.self, RunJob.self, Inspect.self, BenchmarkCommand.self,
        ])

    static func main() {
        end(with: runFromArguments())
    }

    /// Does what the arguments say; returns the exit code.
    private static func runFromArguments() -> Int32 {
        do {
            var command = try parseAsRoot()
            try command.run()
            return 0
        } catch let code as ExitCode {
            return code.rawValue
        } catch let error as DeMLError {
            complain(error.summary)
            return error.exitCode
        } catch {
            // Help and version come this way too; they are no errors.
            guard exitCode(for: error) != .success else { exit(withError: error) }
            let lines = message(for: error).split(separator: "\n")
            let usage = DeMLError(.usage, lines.first.map(String.init) ?? "wrong arguments")
            reportUsage(usage)
            complain("\(usage.message) (deml-worker --help tells the arguments)")
            return usage.exitCode
        }
    }

    /// Leaves an error report where the arguments, wrong as they are, name a place for it.
    private static func reportUsage(_ error: DeMLError) {
        let words = CommandLine.arguments
        guard let index = words.firstIndex(of: "--report"), index + 1 < words.count else { return }
        let command = words.dropFirst().first { !$0.hasPrefix("-") } ?? ""
        try? Receipt(command: command, stage: Stage("arguments"), error: error).write(to: words[index + 1])
    }
}

extension WorkerJob {
    /// Does the job with progress lines on stdout and a line on stderr when it fails.
    func runAsCommand(_ instructionSet: InstructionSet?) throws {
        let outcome = run(instructionSet: instructionSet) { progress in
            if let line = progress.text { say(line) }
        }
        guard let error = outcome.error else { return }
        complain("\(outcome.receipt.refusal?.stage ?? kind.name): \(error.summary)")
        throw ExitCode(outcome.exitCode)
    }
}
