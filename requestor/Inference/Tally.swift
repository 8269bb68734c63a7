import Federation
import Fleets
import Jobs

/// What is counted while shards are done: for progress, and for the table at the end.
struct Tally: Sendable {
    private let cut: ShardCut
    private let rowsBefore: Int
    private var done: [Int: Provider?]
    private var rowsDone: Int
    private var works: [String: InferenceResult.ProviderWork] = [:]
    private var bytesUp = 0
    private var bytesDown = 0
    private var costGLM: Double?
    /// Who is at which attempt.
    var atWork: [ShardMachine.Attempt: Provider] = [:]
    /// Attempts that have failed and whose consequence is not told yet.
    var failures: [ShardMachine.Attempt: WorkerFailure] = [:]
    private(set) var lastFailure: WorkerFailure?
    var homeSeconds = 0.0
    /// When the first shard was taken, and when the last was kept.
    private var work: (first: Double, last: Double)?

    init(cut: ShardCut, done: Set<Int>) {
        self.cut = cut
        self.done = Dictionary(uniqueKeysWithValues: done.map { ($0, nil) })
        rowsDone = done.reduce(0) { $0 + cut.range($1).count }
        rowsBefore = rowsDone
    }

    private mutating func change(_ provider: Provider, _ body: (inout InferenceResult.ProviderWork) -> Void) {
        var work =
            works[provider.id]
            ?? .init(provider: provider, shards: 0, rows: 0, seconds: 0, computingSeconds: 0, failures: 0)
        body(&work)
        works[provider.id] = work
    }

    /// Something came, whether it is believed or not.
    mutating func delivered(_ answer: JobAnswer) {
        bytesUp += answer.bytesUp
        bytesDown += answer.bytesDown
        if let cost = answer.costGLM { costGLM = (costGLM ?? 0) + cost }
    }

    mutating func failed(_ attempt: ShardMachine.Attempt, _ failure: WorkerFailure) {
        bytesUp += failure.bytesUp
        bytesDown += failure.bytesDown
        if let cost = failure.costGLM { costGLM = (costGLM ?? 0) + cost }
        guard failure.kind != .cancelled else { return }
        failures[attempt] = failure
        lastFailure = failure
        if let provider = failure.provider { change(provider) { $0.failures += 1 } }
    }

    mutating func started(_ attempt: ShardMachine.Attempt, _ provider: Provider, now: Double) {
        atWork[attempt] = provider
        if work == nil { work = (now, now) }
    }

    mutating func keep(_ shard: Int, _ answer: JobAnswer, now: Double) -> InferenceEvent.Kept {
        work?.last = now
        let rows = cut.range(shard).count
        done[shard] = answer.provider
        rowsDone += rows
        let machine = answer.receipt.machine
        let rate = machine?.samplesPerSecond ?? 0
        change(answer.provider) {
            $0.shards += 1
            $0.rows += rows
            $0.seconds += answer.seconds
            // What a stranger tells of its own speed: no longer than it took.
            $0.computingSeconds += min(answer.seconds, rate > 0 ? Double(rows) / rate : answer.seconds)
        }
        return InferenceEvent.Kept(
            shard: shard, rows: rows, provider: answer.provider, seconds: answer.seconds, rowsPerSecond: rate,
            bytesUp: answer.bytesUp, bytesDown: answer.bytesDown, costGLM: answer.costGLM)
    }

    mutating func drop(_ shard: Int) {
        guard let provider = done.removeValue(forKey: shard) else { return }
        let rows = cut.range(shard).count
        rowsDone -= rows
        guard let provider else { return }
        change(provider) {
            $0.shards -= 1
            $0.rows -= rows
        }
    }

    func progress(_ seconds: Double) -> InferenceEvent.Progress {
        let rate = seconds > 0 ? Double(max(0, rowsDone - rowsBefore)) / seconds : 0
        return InferenceEvent.Progress(
            rowsDone: rowsDone, rows: cut.rows, shardsDone: done.count, shards: cut.count, atWork: atWork.count,
            rowsPerSecond: rate, secondsLeft: rate > 0 ? Double(cut.rows - rowsDone) / rate : nil, bytesUp: bytesUp,
            bytesDown: bytesDown, costGLM: costGLM)
    }

    func result(_ totals: AuditTotals, looksAtAll: Bool) -> InferenceResult {
        var totals = totals
        totals.homeSeconds += homeSeconds
        return InferenceResult(
            seconds: 0, workSeconds: work.map { $0.last - $0.first } ?? 0, rowsDone: rowsDone - rowsBefore,
            expenses: nil, audits: looksAtAll ? totals : nil,
            providers: works.values.sorted { ($1.rows, $0.provider.name) < ($0.rows, $1.provider.name) })
    }
}

extension WorkerFailure {
    func event(_ attempt: ShardMachine.Attempt, _ consequence: RoundMachine.Consequence) -> RunEvent.AttemptFailed {
        let next: RunEvent.AttemptFailed.Next =
            switch consequence {
            case .retry: .retry
            case .elsewhere: .elsewhere
            case .leftOut: .leftOut
            }
        return RunEvent.AttemptFailed(
            round: 0, client: attempt.client, attempt: attempt.number, provider: provider, failure: kind, stage: stage,
            message: message, exitCode: exitCode, next: next, record: nil, standardErrorTail: standardErrorTail)
    }
}
