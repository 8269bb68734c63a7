import ArgumentParser
import CommandLineSupport
import Federation
import Foundation
import Tensors

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

    /// One run as it is told.
    struct State: Encodable {
        var run: String
        /// "running", "finished", "interrupted", "failed" or "stopped" (its process ended without a word).
        var state: String
        var fleet: String
        var rounds: Int
        var of: Int
        var accuracy: Double?
        var loss: Double?
        var seconds: Double
        var costGLM: Double?
        /// The newest things a person should know, newest last.
        var notices: [String]

        enum CodingKeys: String, CodingKey {
            case run, state, fleet, rounds, of, accuracy, loss, seconds, notices
            case costGLM = "cost_glm"
        }
    }

    func run() throws {
        try CommandErrors.reported {
            let folders = runs.isEmpty ? try Self.allRuns() : runs.map { Paths.resolved($0, from: Paths.workingFolder) }
            let states = try folders.map { try Self.state(of: RunFolder(path: $0)) }
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
                    .init("rounds"), .init("accuracy"), .init("loss"), .init("seconds"), .init("GLM"),
                ],
                rows: states.map { state in
                    [
                        state.run, state.state, state.fleet, "\(state.rounds)/\(state.of)",
                        state.accuracy.map { Self.text($0 * 100, 2) + " %" } ?? "–",
                        state.loss.map { Self.text($0, 4) } ?? "–",
                        Self.text(state.seconds, 1), state.costGLM.map { Self.text($0, 6) } ?? "–",
                    ]
                })
            Output.standard.lines(table.lines(paint: Paint(terminal.hasColour), width: terminal.columns))
            if states.count == 1 { for notice in states[0].notices { Output.standard.line("  " + notice) } }
        }
    }

    private static func text(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

    private static func allRuns() throws -> [String] {
        let base = Paths.resolved("runs", from: Paths.workingFolder)
        guard Files.isDirectory(base) else { return [] }
        return try Files.names(in: base).sorted().map { base + "/" + $0 }.filter { Files.exists($0 + "/config.json") }
    }

    static func state(of folder: RunFolder) throws -> State {
        guard Files.exists(folder.config) else {
            throw DeMLError(.notFound, "there is no run in this folder", place: Paths.shown(folder.path))
        }
        let configuration = try folder.readConfiguration()
        let metrics = Files.exists(folder.metrics) ? try folder.readMetrics() : []
        let events = Files.exists(folder.events) ? try folder.readEvents() : []
        var word = "stopped"
        for event in events {
            switch event.kind {
            case .runStarted: word = "stopped"
            case .runFinished: word = "finished"
            case .runInterrupted: word = "interrupted"
            case .runFailed: word = "failed"
            default: break
            }
        }
        if word == "stopped", folder.isAtWork { word = "running" }
        let notices = events.compactMap { event -> String? in
            switch event.kind {
            case .attemptFailed(let failed): failed.line
            case .fleetNotice(let notice): notice.message
            case .runFailed(let ended): ended.message
            default: nil
            }
        }
        let summary = Files.exists(folder.summary) ? try? folder.readSummary() : nil
        let cost = summary?.costGLM ?? metrics.compactMap(\.costGLM).reduce(0, +)
        return State(
            run: Paths.shown(folder.path), state: word, fleet: configuration.machines.fleet.rawValue,
            rounds: metrics.map(\.round).max() ?? 0, of: configuration.federation.rounds,
            accuracy: metrics.last?.accuracy,
            loss: metrics.last?.loss, seconds: summary?.seconds ?? metrics.reduce(0) { $0 + $1.seconds },
            costGLM: configuration.machines.fleet == .golem ? cost : nil, notices: Array(notices.suffix(12)))
    }
}
