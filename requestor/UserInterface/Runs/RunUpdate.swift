import Federation
import Foundation
import Tensors

/// What has changed in a run for a reader who knew it up to some change; all of it for one who knows nothing.
package struct RunUpdate: Encodable {
    /// A finished round as numbers: round, accuracy, loss, validation accuracy, training loss, seconds, bytes sent, bytes back,
    /// GLM, answers, failures. Two thousand of them are less than 200 kB.
    struct Row: Encodable {
        var metrics: RoundMetrics

        func encode(to encoder: any Encoder) throws {
            var list = encoder.unkeyedContainer()
            try list.encode(metrics.round)
            try list.encode(metrics.accuracy)
            try list.encode(metrics.loss)
            try list.encode(metrics.validationAccuracy)
            try list.encode(metrics.trainLoss)
            try list.encode((metrics.seconds * 1000).rounded() / 1000)
            try list.encode(metrics.bytesUp)
            try list.encode(metrics.bytesDown)
            try list.encode(metrics.costGLM)
            try list.encode(metrics.answers)
            try list.encode(metrics.failures)
        }
    }

    struct Worker: Encodable {
        var id: String
        var name: String
        var tasks: Int
        var failures: Int
        var examples: Int
        var seconds: Double
        var rate: Double?
        var loss: Double?
        var cost: Double?
        var stage: String?
        var client: Int?
        var epoch: Int
        var epochs: Int
    }

    struct Note: Encodable {
        var time: Double
        var level: String
        var text: String
    }

    struct Start: Encodable {
        var fleet: String
        var workers: Int
        var clientsPerRound: Int
        var rounds: Int
        var finished: Int
        var parameters: Int
        var train: Int
        var test: Int
        var validation: Int?
    }

    package var change: Int
    /// Everything; what the reader knew is to be forgotten.
    var whole: Bool
    var state: RunState
    var atWork: Bool
    var start: Start?
    var started: Double?
    var ended: Double?
    var now: Double
    var round: Int
    var rounds: [Row]
    /// Clients of the round in their order; only with `whole` or when a round has begun.
    var order: [Int]?
    var orderCount: Int
    var clients: [String: [Int]]
    var workers: [Worker]
    var notes: [Note]
    var best: Int?
    var comparing: String?
    var comparison: Comparison
    var renting: String?
    var message: String?
    /// The journal is not read to its end yet.
    var catchingUp: Bool

    private static let codes: [LiveRun.Client.State: Int] = [.waiting: 0, .working: 1, .done: 2, .failed: 3]

    /// - Parameters:
    ///   - change: what the reader knows; 0: nothing.
    ///   - restarts: of the run when the reader was last told of it.
    package init(_ run: LiveRun, since change: Int, restarts: Int, atWork: Bool, catchingUp: Bool, roundKnown: Int) {
        whole = change == 0 || restarts != run.restarts
        let since = whole ? 0 : change
        self.change = run.change
        // A run that says it works but that nobody works on was killed.
        state = run.state == .working && !atWork ? .stopped : run.state
        self.atWork = atWork
        start = run.started.map {
            Start(
                fleet: $0.fleet, workers: $0.workers, clientsPerRound: $0.clientsPerRound, rounds: $0.rounds,
                finished: $0.finishedRounds, parameters: $0.parameters, train: $0.trainExamples, test: $0.testExamples,
                validation: $0.validationExamples)
        }
        started = run.startedAt?.timeIntervalSince1970
        ended = run.endedAt?.timeIntervalSince1970
        now = Date().timeIntervalSince1970
        round = run.round
        let known = whole ? -1 : roundKnown
        rounds = run.rounds.filter { $0.round > known }.map(Row.init)
        orderCount = run.order.count
        let isDrawn = run.order.count <= LiveRun.mostClients
        order = isDrawn ? run.order : nil
        clients = [:]
        for (id, client) in run.clients where client.change > since {
            clients[String(id)] = [Self.codes[client.state] ?? 0, client.epoch, client.epochs]
        }
        workers = run.workers.values.filter { $0.change > since }.sorted { $0.id < $1.id }.map {
            Worker(
                id: $0.id, name: $0.name, tasks: $0.tasks, failures: $0.failures, examples: $0.examples,
                seconds: $0.seconds, rate: $0.rate, loss: $0.loss, cost: $0.cost, stage: $0.stage, client: $0.client,
                epoch: $0.epoch, epochs: $0.epochs)
        }
        notes = run.notes.filter { $0.change > since }.map {
            Note(time: $0.time.timeIntervalSince1970, level: $0.level, text: $0.text)
        }
        best = run.best?.round
        comparing = run.comparing
        comparison = run.comparison
        renting = run.renting
        message = run.message
        self.catchingUp = catchingUp
    }
}
