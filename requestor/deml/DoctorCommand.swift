import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import GolemFleet
import Synchronization

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "See whether everything is there to train on Golem, and what to do where it is not.",
        discussion: """
            Looks at the yagna daemon, the app-key, the funds, left-over allocations, the market and the image. Spends \
            nothing. Exit code 0 when a run could start, 69 otherwise.
            """)

    @OptionGroup(title: "Golem")
    var golem: GolemOptions
    @Option(help: ArgumentHelp("How long to wait for offers.", valueName: "seconds"))
    var marketTime = 60.0
    @Flag(help: "Print one JSON object a line instead.")
    var json = false

    func run() async throws {
        let terminal = Terminal.current(of: STDOUT_FILENO)
        let paint = Paint(terminal.hasColour)
        let worst = Worst()
        let isJSON = json
        await Application.ofThisProcess.doctor(golem: golem.values, marketTime: marketTime) { finding in
            worst.add(finding.state)
            if isJSON {
                try? Output.standard.json(
                    [
                        "subject": finding.subject, "state": finding.state.rawValue, "message": finding.message,
                        "remedy": finding.remedy ?? "",
                    ])
                return
            }
            let mark =
                switch finding.state {
                case .good: paint("ok  ", .green)
                case .warning: paint("note", .yellow)
                case .bad: paint("BAD ", .red, .bold)
                }
            let subject = finding.subject.padding(toLength: 11, withPad: " ", startingAt: 0)
            Output.standard.line("\(mark) \(subject) \(finding.message)")
            if let remedy = finding.remedy { Output.standard.line("                 do: \(remedy)") }
        }
        if !isJSON {
            Output.standard.line(
                worst.isBad
                    ? "not ready: mend what is BAD and ask again"
                    : "ready: deml train examples/mnist-mlp.yaml --on golem")
        }
        if worst.isBad { throw ExitCode(69) }
    }

    /// Whether anything bad was found.
    private final class Worst: Sendable {
        private let bad = Atomic(false)
        var isBad: Bool { bad.load(ordering: .relaxed) }
        func add(_ state: Doctor.Finding.State) { if state == .bad { bad.store(true, ordering: .relaxed) } }
    }
}
