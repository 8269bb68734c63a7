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
    /// The round of the best model, and its results on the test set.
    public var bestRound: Int?
    public var bestAccuracy: Double?
    public var bestLoss: Double?
    public var seconds: Double
    /// Absent where work is free.
    public var costGLM: Double?
    /// The newest things a person should know, newest last.
    public var notices: [String]

    enum CodingKeys: String, CodingKey {
        case run, state, fleet, rounds, of, accuracy, loss, seconds, notices
        case bestRound = "best_round"
        case bestAccuracy = "best_accuracy"
        case bestLoss = "best_loss"
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
        var news = RunNews()
        try folder.forEachEvent { news.take($0) }
        let state = news.state == .stopped && isAtWork ? .running : news.state
        let summary = Files.exists(folder.summary) ? try? folder.readSummary() : nil
        let best = RoundMetrics.best(of: metrics)
        let cost = summary?.costGLM ?? metrics.compactMap(\.costGLM).reduce(0, +)
        return RunStatus(
            run: paths.shown(folder.path).harmless(maximum: 500), state: state,
            fleet: configuration.machines.fleet.rawValue,
            rounds: metrics.map(\.round).max() ?? 0, of: configuration.federation.rounds,
            accuracy: metrics.last?.accuracy,
            loss: metrics.last?.loss, bestRound: best?.round, bestAccuracy: best?.accuracy, bestLoss: best?.loss,
            seconds: summary?.seconds ?? metrics.reduce(0) { $0 + $1.seconds },
            costGLM: configuration.machines.fleet == .golem ? cost : nil,
            notices: news.notices + (news.renting.map { ["renting: " + $0.harmless(maximum: 500)] } ?? []))
    }
}

/// What is told of a journal, taken an event at a time: a long run's journal is not held in memory.
private struct RunNews {
    private(set) var state = RunStatus.State.stopped
    /// The newest, harmless: a run folder may come from anybody.
    private(set) var notices: [String] = []
    /// Where the renting stands, if that is the newest there is to tell.
    private(set) var renting: String?
    private static let mostNotices = 12

    mutating func take(_ event: RunEvent) {
        switch event.kind {
        case .runStarted: state = .stopped
        case .runFinished: state = .finished
        case .runInterrupted: state = .interrupted
        case .runFailed: state = .failed
        default: break
        }
        // Of the renting, only where it stands now is of interest.
        renting = if case .fleetNotice(let now) = event.kind, now.isRentingProgress { now.message } else { nil }
        let notice: String? =
            switch event.kind {
            case .attemptFailed(let failed): failed.line
            case .fleetNotice(let notice): notice.isRentingProgress ? nil : notice.message
            case .runFailed(let ended): ended.message
            default: nil
            }
        guard let notice else { return }
        if notices.count == Self.mostNotices { notices.removeFirst() }
        notices.append(notice.harmless(maximum: 500))
    }
}
