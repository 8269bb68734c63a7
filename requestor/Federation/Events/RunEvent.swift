import Fleets
import Foundation
import Jobs

/// Something that happened in a run: a line of `events.jsonl`, and what a display shows.
///
/// As JSON one flat object: `{"time":"2026-03-01T12:00:00.123Z","event":"attempt_failed","round":2,"client":1,…}`.
public struct RunEvent: Sendable, Equatable, Codable {
    public var time: Date
    public var kind: Kind

    public init(time: Date, _ kind: Kind) {
        self.time = time
        self.kind = kind
    }

    public enum Kind: Sendable, Equatable {
        case runStarted(RunStarted)
        case roundStarted(RoundStarted)
        /// A machine has taken a client's training.
        case attemptStarted(Attempt)
        case attemptStage(AttemptStage)
        case epochFinished(EpochFinished)
        /// A verified answer that counts.
        case attemptSucceeded(AttemptSucceeded)
        case attemptFailed(AttemptFailed)
        /// A training is also given to another worker, as the first is slow.
        case stragglerFound(Straggler)
        /// An answer was looked at: recomputed at home, or compared with what others say.
        case audited(Audit)
        /// Wrong values were in an average: the run has gone back.
        case roundsRedone(RoundsRedone)
        case roundFinished(RoundMetrics)
        /// The model of this round is the best so far. Told when a run begins or goes on, too, and when rounds were taken back.
        case bestModel(Best)
        case comparisonStarted(ComparisonStarted)
        case comparisonFinished(ComparisonFinished)
        case fleetNotice(FleetNotice)
        case runFinished(RunEnded)
        case runInterrupted(RunEnded)
        case runFailed(RunEnded)
    }

    public struct RunStarted: Sendable, Equatable, Codable {
        public var fleet: String
        public var workers: Int
        public var clientsPerRound: Int
        public var rounds: Int
        /// Finished before this start; 0 unless resumed.
        public var finishedRounds: Int
        public var parameters: Int
        public var trainExamples: Int
        public var testExamples: Int
        public var accuracy: Double?
        public var loss: Double
        /// `nil` where no validation set was set apart.
        public var validationExamples: Int?

        enum CodingKeys: String, CodingKey {
            case fleet, workers, rounds, parameters, accuracy, loss
            case clientsPerRound = "clients_per_round"
            case finishedRounds = "finished_rounds"
            case trainExamples = "train_examples"
            case testExamples = "test_examples"
            case validationExamples = "validation_examples"
        }
    }

    public struct RoundStarted: Sendable, Equatable, Codable {
        public var round: Int
        public var rounds: Int
        /// Numbers of the clients that train, in order.
        public var clients: [Int]
    }

    public struct Attempt: Sendable, Equatable, Codable {
        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider

        package init(round: Int, client: Int, attempt: Int, provider: Provider) {
            self.round = round
            self.client = client
            self.attempt = attempt
            self.provider = provider
        }
    }

    public struct AttemptStage: Sendable, Equatable, Codable {
        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider?
        public var stage: String

        package init(round: Int, client: Int, attempt: Int, provider: Provider?, stage: String) {
            self.round = round
            self.client = client
            self.attempt = attempt
            self.provider = provider
            self.stage = stage
        }
    }

    public struct EpochFinished: Sendable, Equatable, Codable {
        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider?
        public var progress: EpochProgress
    }

    public struct AttemptSucceeded: Sendable, Equatable, Codable {
        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider
        public var examples: Int
        public var seconds: Double
        public var samplesPerSecond: Double?
        public var loss: Double?
        public var accuracy: Double?
        public var bytesUp: Int
        public var bytesDown: Int
        public var costGLM: Double?
        public var deltaSHA256: String?

        enum CodingKeys: String, CodingKey {
            case round, client, attempt, provider, examples, seconds, loss, accuracy
            case samplesPerSecond = "samples_per_second"
            case bytesUp = "bytes_up"
            case bytesDown = "bytes_down"
            case costGLM = "cost_glm"
            case deltaSHA256 = "delta_sha256"
        }
    }

    public struct AttemptFailed: Sendable, Equatable, Codable {
        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider?
        public var failure: WorkerFailure.Kind
        public var stage: String
        public var message: String
        public var exitCode: Int32?
        /// What becomes of the client's training.
        public var next: Next
        /// Path of the kept report and stderr, from the run folder.
        public var record: String?
        public var standardErrorTail: String?

        package init(
            round: Int, client: Int, attempt: Int, provider: Provider?, failure: WorkerFailure.Kind, stage: String,
            message: String, exitCode: Int32?, next: Next, record: String?, standardErrorTail: String?
        ) {
            self.round = round
            self.client = client
            self.attempt = attempt
            self.provider = provider
            self.failure = failure
            self.stage = stage
            self.message = message
            self.exitCode = exitCode
            self.next = next
            self.record = record
            self.standardErrorTail = standardErrorTail
        }

        public enum Next: String, Sendable, Codable {
            /// It is given to another worker.
            case retry
            /// Another worker is at it, or has done it.
            case elsewhere
            /// The round goes on without it.
            case leftOut = "left_out"
        }

        enum CodingKeys: String, CodingKey {
            case round, client, attempt, provider, failure, stage, message, next, record
            case exitCode = "exit_code"
            case standardErrorTail = "stderr"
        }

        /// One line: who failed, at what stage and why, and what becomes of it.
        public var line: String {
            let who = provider.map { "\($0.name)" } ?? "no provider"
            let what = failure == .late ? "was late" : failure == .lost ? "was lost" : "failed"
            let then =
                switch next {
                case .retry: "given to another worker"
                case .elsewhere: "another worker has it"
                case .leftOut: "left out of the round"
                }
            return "\(RunEvent.place(round: round, client: client)): \(who) \(what) at \(stage): \(message); \(then)"
        }
    }

    public struct Straggler: Sendable, Equatable, Codable {
        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider?
        /// Seconds it has taken so far, and the median of those that have finished.
        public var seconds: Double
        public var median: Double

        package init(round: Int, client: Int, attempt: Int, provider: Provider?, seconds: Double, median: Double) {
            self.round = round
            self.client = client
            self.attempt = attempt
            self.provider = provider
            self.seconds = seconds
            self.median = median
        }
    }

    public struct Audit: Sendable, Equatable, Codable {
        public enum Verdict: String, Sendable, Codable {
            case right, wrong
            /// Home could not tell.
            case undecided
        }

        public var round: Int
        public var client: Int
        public var attempt: Int
        public var provider: Provider
        public var verdict: Verdict
        /// Why it was looked at, or what was wrong.
        public var reason: String

        /// One line: what came out.
        public var line: String {
            let what =
                switch verdict {
                case .right: "was recomputed and is right"
                case .wrong: "is wrong; \(provider.name) is left and not paid for it"
                case .undecided: "could not be recomputed"
                }
            return "\(RunEvent.place(round: round, client: client)): what \(provider.name) sent \(what) (\(reason))"
        }
    }

    public struct RoundsRedone: Sendable, Equatable, Codable {
        /// The first round that is done again, and the last that had been done.
        public var from: Int
        public var through: Int

        public var line: String {
            "wrong values were averaged in round \(from): \(from == through ? "it is" : "rounds \(from) to \(through) are")"
                + " done again"
        }
    }

    /// With its results on the set that it was chosen on.
    public struct Best: Sendable, Equatable, Codable {
        public var round: Int
        public var accuracy: Double?
        public var loss: Double
        public var chosenOn: ChosenOn?

        enum CodingKeys: String, CodingKey {
            case round, accuracy, loss
            case chosenOn = "chosen_on"
        }

        public init(_ metrics: RoundMetrics) {
            (round, chosenOn) = (metrics.round, metrics.chosenOn)
            (accuracy, loss) = metrics.chosenBy
        }

        init(_ record: RoundRecord) {
            (round, accuracy, loss) = (record.bestRound, record.bestAccuracy, record.bestLoss)
            chosenOn = record.metrics.chosenOn
        }

        public var merit: Merit { Merit(accuracy: accuracy, loss: loss) }
    }

    public enum Reference: String, Sendable, Codable {
        case onePlace = "one_place"
        case oneShard = "one_shard"
    }

    public struct ComparisonStarted: Sendable, Equatable, Codable {
        public var reference: Reference
        public var passes: Int
        public var examples: Int
    }

    public struct ComparisonFinished: Sendable, Equatable, Codable {
        public var reference: Reference
        public var result: ReferenceResult
    }

    public struct RunEnded: Sendable, Equatable, Codable {
        /// Rounds that are finished and saved.
        public var rounds: Int
        public var accuracy: Double?
        public var message: String?
    }
}

extension RunEvent {
    /// What a job is of, for people: `round 3, shard 7`; predictions, which know no rounds, are of round 0: `shard 7`.
    public static func place(round: Int, client: Int) -> String {
        round == 0 ? "shard \(client)" : "round \(round), shard \(client)"
    }

    enum CodingKeys: String, CodingKey { case time, event }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(time.formatted(Self.timeStyle), forKey: .time)
        try container.encode(kind.name, forKey: .event)
        switch kind {
        case .runStarted(let event): try event.encode(to: encoder)
        case .roundStarted(let event): try event.encode(to: encoder)
        case .attemptStarted(let event): try event.encode(to: encoder)
        case .attemptStage(let event): try event.encode(to: encoder)
        case .epochFinished(let event): try event.encode(to: encoder)
        case .attemptSucceeded(let event): try event.encode(to: encoder)
        case .attemptFailed(let event): try event.encode(to: encoder)
        case .stragglerFound(let event): try event.encode(to: encoder)
        case .audited(let event): try event.encode(to: encoder)
        case .roundsRedone(let event): try event.encode(to: encoder)
        case .roundFinished(let event): try event.encode(to: encoder)
        case .bestModel(let event): try event.encode(to: encoder)
        case .comparisonStarted(let event): try event.encode(to: encoder)
        case .comparisonFinished(let event): try event.encode(to: encoder)
        case .fleetNotice(let event): try event.encode(to: encoder)
        case .runFinished(let event), .runInterrupted(let event), .runFailed(let event): try event.encode(to: encoder)
        }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let text = try container.decode(String.self, forKey: .time)
        guard let time = try? Date(text, strategy: Self.timeStyle) else {
            throw DecodingError.dataCorruptedError(
                forKey: .time, in: container, debugDescription: "not a time: \(text)")
        }
        self.time = time
        let name = try container.decode(String.self, forKey: .event)
        switch name {
        case "run_started": kind = .runStarted(try RunStarted(from: decoder))
        case "round_started": kind = .roundStarted(try RoundStarted(from: decoder))
        case "attempt_started": kind = .attemptStarted(try Attempt(from: decoder))
        case "attempt_stage": kind = .attemptStage(try AttemptStage(from: decoder))
        case "epoch_finished": kind = .epochFinished(try EpochFinished(from: decoder))
        case "attempt_succeeded": kind = .attemptSucceeded(try AttemptSucceeded(from: decoder))
        case "attempt_failed": kind = .attemptFailed(try AttemptFailed(from: decoder))
        case "straggler_found": kind = .stragglerFound(try Straggler(from: decoder))
        case "audited": kind = .audited(try Audit(from: decoder))
        case "rounds_redone": kind = .roundsRedone(try RoundsRedone(from: decoder))
        case "round_finished": kind = .roundFinished(try RoundMetrics(from: decoder))
        case "best_model": kind = .bestModel(try Best(from: decoder))
        case "comparison_started": kind = .comparisonStarted(try ComparisonStarted(from: decoder))
        case "comparison_finished": kind = .comparisonFinished(try ComparisonFinished(from: decoder))
        case "fleet_notice": kind = .fleetNotice(try FleetNotice(from: decoder))
        case "run_finished": kind = .runFinished(try RunEnded(from: decoder))
        case "run_interrupted": kind = .runInterrupted(try RunEnded(from: decoder))
        case "run_failed": kind = .runFailed(try RunEnded(from: decoder))
        default:
            throw DecodingError.dataCorruptedError(
                forKey: .event, in: container, debugDescription: "unknown event '\(name)'")
        }
    }

    /// UTC with milliseconds.
    private static let timeStyle = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
}

extension RunEvent.Kind {
    /// The value of `event` in `events.jsonl`.
    public var name: String {
        switch self {
        case .runStarted: "run_started"
        case .roundStarted: "round_started"
        case .attemptStarted: "attempt_started"
        case .attemptStage: "attempt_stage"
        case .epochFinished: "epoch_finished"
        case .attemptSucceeded: "attempt_succeeded"
        case .attemptFailed: "attempt_failed"
        case .stragglerFound: "straggler_found"
        case .audited: "audited"
        case .roundsRedone: "rounds_redone"
        case .roundFinished: "round_finished"
        case .bestModel: "best_model"
        case .comparisonStarted: "comparison_started"
        case .comparisonFinished: "comparison_finished"
        case .fleetNotice: "fleet_notice"
        case .runFinished: "run_finished"
        case .runInterrupted: "run_interrupted"
        case .runFailed: "run_failed"
        }
    }
}
