import Federation
import Fleets
import Foundation
import Jobs
import Tensors

/// What a page shows of a run, made of its events one after the other: a pure value. Every change has a number, so that a
/// reader who knows all up to one is told the rest; what would grow with the length of the journal is bounded.
package struct LiveRun: Sendable {
    /// One machine that works, or has worked.
    package struct Worker: Sendable {
        var change: Int
        var id: String
        var name: String
        var tasks = 0
        var failures = 0
        var examples = 0
        var seconds = 0.0
        var rate: Double?
        var loss: Double?
        var cost: Double?
        /// What it is at, if it is at something: `train`, and of which client.
        var stage: String?
        var client: Int?
        var epoch = 0
        var epochs = 0
    }

    /// One client's training in the round that is under way.
    struct Client: Sendable {
        enum State: String, Sendable, Encodable { case waiting, working, done, failed }
        var change: Int
        var state = State.waiting
        var epoch = 0
        var epochs = 0
    }

    package struct Note: Sendable {
        var change: Int
        var time: Date
        var level: String
        var text: String
    }

    package private(set) var change = 0
    private(set) var state = RunState.working
    private(set) var started: RunEvent.RunStarted?
    private(set) var startedAt: Date?
    private(set) var endedAt: Date?
    /// The round that is under way; 0 before the first.
    private(set) var round = 0
    private(set) var roundStartedAt: Date?
    package private(set) var rounds: [RoundMetrics] = []
    /// Rounds were taken back: readers begin anew.
    package private(set) var restarts = 0
    private(set) var clients: [Int: Client] = [:]
    private(set) var order: [Int] = []
    package private(set) var workers: [String: Worker] = [:]
    package private(set) var notes: [Note] = []
    private(set) var best: RunEvent.Best?
    private(set) var comparing: String?
    private(set) var comparison = Comparison()
    private(set) var renting: String?
    private(set) var message: String?

    package static let mostNotes = 200
    package static let mostWorkers = 1000
    /// More clients are counted, not drawn.
    static let mostClients = 400

    package init() {}

    /// Rounds that are known already, from the file that has them: events of the past need not tell them again.
    private var isSeeded = false

    /// Begins with finished rounds, before the journal is read.
    package mutating func seed(_ metrics: [RoundMetrics]) {
        guard !metrics.isEmpty else { return }
        rounds = metrics
        isSeeded = true
        change += 1
    }

    /// The journal is read up to its end: from here on its events are the newest there is.
    package mutating func caughtUp() { isSeeded = false }

    package mutating func take(_ event: RunEvent) {
        change += 1
        if case .fleetNotice(let notice) = event.kind, notice.isRentingProgress {
            renting = notice.isRentingDone ? nil : notice.message.harmless(maximum: 300)
            return
        }
        switch event.kind {
        case .runStarted(let run): begin(run, event.time)
        case .roundStarted(let start):
            round = start.round
            roundStartedAt = event.time
            order = start.clients
            clients =
                start.clients.count > Self.mostClients
                ? [:]
                : Dictionary(
                    start.clients.map { ($0, Client(change: change)) }, uniquingKeysWith: { first, _ in first })
        case .attemptStarted(let attempt):
            work(attempt.provider, attempt.client, "start", 0, 0)
        case .attemptStage(let stage):
            if let provider = stage.provider { work(provider, stage.client, stage.stage, nil, nil) }
        case .epochFinished(let epoch):
            if let provider = epoch.provider {
                work(provider, epoch.client, "train", epoch.progress.epoch, epoch.progress.epochs)
                workers[provider.id]?.loss = epoch.progress.loss
                workers[provider.id]?.rate = epoch.progress.samplesPerSecond
            }
        case .attemptSucceeded(let done): succeed(done)
        case .attemptFailed(let failed): fail(failed, event.time)
        case .stragglerFound(let slow):
            note(
                event.time, "info",
                "round \(slow.round), shard \(slow.client): \(slow.provider?.name ?? "a worker") is slow; another gets the same work"
            )
        case .audited(let audit):
            if audit.verdict != .right { note(event.time, audit.verdict == .wrong ? "bad" : "info", audit.line) }
        case .roundsRedone(let redone):
            if !isSeeded {
                rounds.removeAll { $0.round >= redone.from }
                restarts += 1
            }
            note(event.time, "warning", redone.line)
        case .roundFinished(let metrics): finish(metrics)
        case .bestModel(let best): self.best = best
        case .comparisonStarted(let start):
            comparing = start.reference == .onePlace ? "in one place" : "on one shard alone"
        case .comparisonFinished(let done):
            comparing = nil
            switch done.reference {
            case .onePlace: comparison.onePlace = done.result
            case .oneShard: comparison.oneShard = done.result
            }
        case .fleetNotice(let notice):
            let who = notice.provider.map { " (\($0.name))" } ?? ""
            note(event.time, notice.level == .warning ? "warning" : "info", notice.message + who)
        case .runFinished(let end): close(.finished, end, event.time)
        case .runInterrupted(let end): close(.interrupted, end, event.time)
        case .runFailed(let end):
            close(.failed, end, event.time)
            note(event.time, "bad", end.message ?? "the run has failed")
        }
    }

    private mutating func begin(_ run: RunEvent.RunStarted, _ time: Date) {
        started = run
        startedAt = time
        endedAt = nil
        state = .working
        message = nil
        if !isSeeded, rounds.contains(where: { $0.round > run.finishedRounds }) {
            rounds.removeAll { $0.round > run.finishedRounds }
            restarts += 1
        }
        clients = [:]
        order = []
        for id in workers.keys { rest(id) }
    }

    private mutating func close(_ state: RunState, _ end: RunEvent.RunEnded, _ time: Date) {
        self.state = state
        message = end.message?.harmlessLines(maximum: 2000)
        endedAt = time
        renting = nil
        comparing = nil
        clients = [:]
        order = []
        for id in workers.keys { rest(id) }
    }

    private mutating func rest(_ id: String) {
        guard workers[id]?.stage != nil else { return }
        workers[id]?.stage = nil
        workers[id]?.client = nil
        workers[id]?.change = change
    }

    private mutating func work(_ provider: Provider, _ client: Int, _ stage: String, _ epoch: Int?, _ epochs: Int?) {
        var worker = known(provider)
        worker.change = change
        worker.stage = stage.harmless(maximum: 60)
        worker.client = client
        if let epoch { worker.epoch = epoch }
        if let epochs { worker.epochs = epochs }
        workers[provider.id] = worker
        guard var at = clients[client], at.state != .done else { return }
        at.change = change
        at.state = .working
        at.epoch = max(at.epoch, epoch ?? 0)
        at.epochs = epochs ?? at.epochs
        clients[client] = at
    }

    private mutating func known(_ provider: Provider) -> Worker {
        if let worker = workers[provider.id] { return worker }
        if workers.count >= Self.mostWorkers, let oldest = workers.values.min(by: { $0.change < $1.change }) {
            workers[oldest.id] = nil
        }
        return Worker(change: change, id: provider.id, name: provider.name.harmless(maximum: 120))
    }

    private mutating func succeed(_ done: RunEvent.AttemptSucceeded) {
        var worker = known(done.provider)
        worker.change = change
        worker.tasks += 1
        worker.examples += done.examples
        worker.seconds += done.seconds
        worker.rate = done.samplesPerSecond ?? worker.rate
        worker.loss = done.loss ?? worker.loss
        if let cost = done.costGLM { worker.cost = (worker.cost ?? 0) + cost }
        if worker.client == done.client {
            worker.stage = nil
            worker.client = nil
        }
        workers[done.provider.id] = worker
        clients[done.client]?.change = change
        clients[done.client]?.state = .done
    }

    private mutating func fail(_ failed: RunEvent.AttemptFailed, _ time: Date) {
        if let provider = failed.provider {
            var worker = known(provider)
            worker.change = change
            worker.failures += 1
            if worker.client == failed.client {
                worker.stage = nil
                worker.client = nil
            }
            workers[provider.id] = worker
        }
        if clients[failed.client]?.state == .working {
            clients[failed.client]?.change = change
            clients[failed.client]?.state = failed.next == .leftOut ? .failed : .waiting
        }
        note(time, failed.next == .leftOut ? "bad" : "warning", failed.line)
    }

    private mutating func finish(_ metrics: RoundMetrics) {
        if !isSeeded || metrics.round > rounds.last?.round ?? -1 { rounds.append(metrics) }
        for id in clients.keys where clients[id]?.state != .done {
            clients[id]?.state = .done
            clients[id]?.change = change
        }
    }

    private mutating func note(_ time: Date, _ level: String, _ text: String) {
        if notes.count == Self.mostNotes { notes.removeFirst() }
        notes.append(Note(change: change, time: time, level: level, text: text.harmless(maximum: 500)))
    }
}

/// How a run is, as the page says it.
enum RunState: String, Sendable, Encodable {
    /// Its process has begun, but the run has not: data is read.
    case preparing
    case working, finished, interrupted, failed
    /// Its process has ended without a word.
    case stopped
}
