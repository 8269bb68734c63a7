import Federation
import Fleets
import Tensors

/// How far a run is, how good, and what it has cost.
public struct RunStatus: Sendable, Equatable, Encodable {
    public enum State: String, Sendable, Encodable {
        case running, finished, interrupted, failed
        /// Its process has ended without a word.
        case stopped
    }

    /// Its folder, as a person would write it.
    public var run: String
    public var state: State
    public var fleet: String
    /// Rounds that are finished, and how many are wanted.
    public var rounds: Int
    public var of: Int
    public var accuracy: Double?
    public var loss: Double?
    public var seconds: Double
    /// Absent where work is free.
    public var costGLM: Double?
    /// The newest things a person should know, newest last.
    public var notices: [String]

    enum CodingKeys: String, CodingKey {
        case run, state, fleet, rounds, of, accuracy, loss, seconds, notices
        case costGLM = "cost_glm"
    }
}

extension Application {
    /// The state of these runs; of all under `runs/` when none is named. Takes no lock of any.
    public func runs(_ named: [String] = []) throws -> [RunStatus] {
        let folders = named.isEmpty ? try allRuns() : named.map { paths.resolved($0) }
        return try folders.map { try status(of: RunFolder(path: $0)) }
    }

    private func allRuns() throws -> [String] {
        let base = paths.resolved("runs")
        guard Files.isDirectory(base) else { return [] }
        return try Files.names(in: base).sorted().map { base + "/" + $0 }.filter { Files.exists($0 + "/config.json") }
    }

    private func status(of folder: RunFolder) throws -> RunStatus {
        guard Files.exists(folder.config) else {
            throw DeMLError(.notFound, "there is no run in this folder", place: paths.shown(folder.path))
        }
        let configuration = try folder.readConfiguration()
        let metrics = Files.exists(folder.metrics) ? try folder.readMetrics() : []
        // Asked before the events are read: a run that ends in between has said so by then.
        let isAtWork = folder.isAtWork
        let events = Files.exists(folder.events) ? try folder.readEvents() : []
        var state = RunStatus.State.stopped
        for event in events {
            switch event.kind {
            case .runStarted: state = .stopped
            case .runFinished: state = .finished
            case .runInterrupted: state = .interrupted
            case .runFailed: state = .failed
            default: break
            }
        }
        if state == .stopped, isAtWork { state = .running }
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
        return RunStatus(
            run: paths.shown(folder.path), state: state, fleet: configuration.machines.fleet.rawValue,
            rounds: metrics.map(\.round).max() ?? 0, of: configuration.federation.rounds,
            accuracy: metrics.last?.accuracy,
            loss: metrics.last?.loss, seconds: summary?.seconds ?? metrics.reduce(0) { $0 + $1.seconds },
            costGLM: configuration.machines.fleet == .golem ? cost : nil, notices: Array(notices.suffix(12)))
    }
}
