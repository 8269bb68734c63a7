import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Reports

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how far runs are, how good, and what they have cost.",
        discussion: """
              deml status                      every run under runs/
              deml status runs/mnist-mlp       one of them, with its newest events
            """)

    @Argument(help: ArgumentHelp("Run folders; none: all under runs/.", valueName: "run"))
    var runs: [String] = []
    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try CommandErrors.reported {
            let states = try Application.ofThisProcess.runs(runs)
            if json {
                try Output.standard.json(states)
                return
            }
            guard !states.isEmpty else {
                Output.standard.line("no runs under runs/")
                return
            }
            let terminal = Terminal.current(of: STDOUT_FILENO)
            let table = TextTable(
                [
                    .init("run", toRight: false), .init("state", toRight: false), .init("fleet", toRight: false),
                    .init("rounds"), .init("accuracy"), .init("loss"), .init("best"), .init("time"), .init("cost"),
                ],
                rows: states.map { state in
                    [
                        state.run, state.state.rawValue, state.fleet, "\(state.rounds)/\(state.of)",
                        state.accuracy.map { Figures.percent($0) } ?? "–", state.loss.map { Figures.loss($0) } ?? "–",
                        RunText.best(round: state.bestRound, accuracy: state.bestAccuracy, loss: state.bestLoss),
                        Figures.duration(state.seconds), Figures.cost(state.costGLM),
                    ]
                })
            Output.standard.lines(table.lines(paint: Paint(terminal.hasColour), width: terminal.columns))
            if states.count == 1 { for notice in states[0].notices { Output.standard.line("  " + notice) } }
        }
    }
}
