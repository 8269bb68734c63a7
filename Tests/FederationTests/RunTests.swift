import Federation
import Fleets
import Foundation
import NeuralNetwork
import Synchronization
import Tensors
import TestSupport
import Testing
import Worker

@Suite("A run with the simulated fleet")
struct RunTests {
    private func run(
        _ folder: String, resume: Bool = false, threads: Int = 2, log: EventLog = EventLog(),
        _ change: (inout RunConfiguration) -> Void = { _ in }
    ) async throws -> Summary {
        let plan = try TinyProblem.plan(folder, change)
        let fleet = SimulatedFleet(threads: threads)
        return try await Run(plan, fleet: fleet, resume: resume) { log.add($0) }.run()
    }

    @Test("learns, and leaves everything a run folder holds")
    func learns() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let summary = try await run(scratch.path, log: log) {
            $0.federation.rounds = 6
            $0.output.comparison = true
        }
        let folder = RunFolder(path: scratch.path)
        #expect(try #require(summary.accuracy) > 0.9)
        #expect(summary.rounds == 6 && summary.failures == 0 && summary.costGLM == 0)
        #expect(summary.modelSHA256 == (try Safetensors.digestOfContents(of: folder.model)))
        #expect(summary.confusion?.joined().reduce(0, +) == 150)
        #expect(summary.labelCounts?.count == 4 && summary.labelCounts?.joined().reduce(0, +) == 240)
        #expect(summary.workers.reduce(0) { $0 + $1.tasks } == 24)
        #expect(summary.workers.reduce(0) { $0 + $1.examples } == 6 * 2 * 240)
        #expect(try folder.readSummary() == summary)
        #expect(try folder.readConfiguration().federation.rounds == 6)
        let metrics = try folder.readMetrics()
        #expect(metrics.map(\.round) == Array(0...6))
        #expect(metrics.last?.accuracy == summary.accuracy && metrics.last?.answers == 4)
        let best = try #require(metrics.max { ($0.accuracy ?? 0, -$0.loss) < ($1.accuracy ?? 0, -$1.loss) })
        #expect(summary.bestAccuracy == best.accuracy)
        #expect(try Safetensors.digestOfContents(of: folder.best) == metrics[summary.bestRound].weightsSHA256)
        let comparison = try #require(summary.comparison)
        #expect(comparison.onePlace?.passes == 12 && comparison.onePlace?.examples == 240)
        #expect(comparison.oneShard?.examples == 60 && comparison.oneShard?.curve.count == 12)
        #expect(try #require(comparison.onePlace?.accuracy) > 0.9)
        guard case .answer(let record) = try folder.readReports(round: 2)[3] else { throw NoRecord() }
        #expect(record.client == 3 && record.report.training?.examples == 60)
        #expect(!Files.exists(folder.work))

        #expect(log.names.first == "run_started" && log.names.last == "run_finished")
        #expect(log.names.filter { $0 == "round_finished" }.count == 6)
        #expect(log.names.filter { $0 == "attempt_succeeded" }.count == 24)
        #expect(try folder.readEvents().map(\.kind) == log.events)
        // The model is read by itself.
        #expect(try Weights(Safetensors(contentsOf: folder.model)).round == 6)
    }

    @Test("the same settings give the same bytes, with any number of threads")
    func reproducible() async throws {
        let folders = try (0..<3).map { _ in try ScratchFolder() }
        var digests: Set<String> = []
        for (index, scratch) in folders.enumerated() {
            digests.insert(try await run(scratch.path, threads: index + 1).modelSHA256)
        }
        #expect(digests.count == 1)
        let other = try ScratchFolder()
        #expect(!digests.contains(try await run(other.path) { $0.federation.seed = 6 }.modelSHA256))
    }

    @Test("a run that is stopped after any round and resumed gives the bytes of an undisturbed one", arguments: 0...3)
    func resume(stopAfter: Int) async throws {
        let settings: @Sendable (inout RunConfiguration) -> Void = {
            $0.federation.rounds = 4
            $0.federation.fraction = 0.5
            $0.averaging.serverMomentum = 0.9
            $0.averaging.serverNesterov = true
            $0.training.learningRateDecay = 0.9
        }
        let undisturbed = try ScratchFolder()
        let expected = try await run(undisturbed.path, settings)

        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path, settings)
        // Stops in the middle of a round: when one of its clients has begun.
        let fleet = TroubledFleet(fleet: SimulatedFleet(threads: 1)) { assignment in
            if assignment.round > stopAfter { withUnsafeCurrentTask { $0?.cancel() } }
            if assignment.round > stopAfter { throw Stop() }
        }
        await #expect(throws: (any Error).self) { try await Run(plan, fleet: fleet).run() }
        let resumed = try await run(scratch.path, resume: true, settings)
        #expect(resumed.modelSHA256 == expected.modelSHA256)
        #expect(resumed.accuracy == expected.accuracy && resumed.bestRound == expected.bestRound)
        #expect(try RunFolder(path: scratch.path).readMetrics().map(\.round) == Array(0...4))
    }

    struct Stop: Error {}

    @Test("cancellation ends a run with its last finished round saved")
    func cancellation() async throws {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path) { $0.federation.rounds = 1000 }
        let (reached, signal) = AsyncStream.makeStream(of: Void.self)
        let log = EventLog()
        let running = Task {
            try await Run(plan, fleet: SimulatedFleet()) { event in
                log.add(event)
                if case .roundFinished(let metrics) = event.kind, metrics.round == 3 { signal.finish() }
            }.run()
        }
        for await _ in reached {}
        running.cancel()
        let error = await #expect(throws: RunInterrupted.self) { try await running.value }
        let finished = try #require(error?.finishedRounds)
        #expect(finished >= 3)
        #expect(log.names.last == "run_interrupted")
        let folder = RunFolder(path: scratch.path)
        #expect(try folder.readMetrics().last?.round == finished)
        #expect(try Weights(Safetensors(contentsOf: folder.model)).round == finished)
        #expect(try Files.names(in: folder.rounds).allSatisfy { !$0.contains("partial") })
    }

    @Test("a folder with a run is refused, unless it is resumed with the same settings")
    func occupiedFolder() async throws {
        let scratch = try ScratchFolder()
        let first = try await run(scratch.path)
        let occupied = await #expect(throws: DeMLError.self) { try await run(scratch.path) }
        #expect(occupied?.code == .usage && occupied?.message.contains("already holds a run") == true)
        let changed = await #expect(throws: DeMLError.self) {
            try await run(scratch.path, resume: true) {
                $0.training.learningRate = 0.2
                $0.training.batchSize = 8
            }
        }
        #expect(changed?.message.contains("batch_size: was 16, now 8; learning_rate: was 0.1, now 0.2") == true)
        // A finished run that is resumed says how it ended.
        #expect(try await run(scratch.path, resume: true).modelSHA256 == first.modelSHA256)
        // It may be given more rounds, and then is what it would have been with them.
        let more = try await run(scratch.path, resume: true) { $0.federation.rounds = 5 }
        let fresh = try ScratchFolder()
        #expect(more.rounds == 5)
        #expect(more.modelSHA256 == (try await run(fresh.path) { $0.federation.rounds = 5 }).modelSHA256)
    }

    @Test("two processes cannot work on one run")
    func locked() async throws {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path)
        try Files.createDirectory(scratch.path)
        let lock = try FolderLock(path: plan.folder.lock)
        let error = await #expect(throws: DeMLError.self) {
            try await Run(plan, fleet: SimulatedFleet()).run()
        }
        #expect(error?.place == plan.folder.lock && plan.folder.isAtWork)
        withExtendedLifetime(lock) {}
    }

    @Test("looking whether a run is under way never keeps one from starting")
    func polled() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        #expect(!folder.isAtWork)
        let isOver = Flag()
        let looks = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    while !isOver.isUp {
                        for _ in 0..<50 { _ = folder.isAtWork }
                        looks.add(50)
                        await Task.yield()
                    }
                }
            }
            group.addTask {
                var refused = 0
                while looks.value < 20_000 {
                    for _ in 0..<50 where (try? FolderLock(path: folder.lock)) == nil { refused += 1 }
                    await Task.yield()
                }
                isOver.raise()
                #expect(refused == 0)
            }
        }
        #expect(!folder.isAtWork)
    }

    @Test("a run that a target accuracy ends early is compared with as many passes as it made")
    func passesMade() async throws {
        let scratch = try ScratchFolder()
        let summary = try await run(scratch.path) {
            $0.federation.rounds = 50
            $0.federation.targetAccuracy = 0.8
            $0.output.comparison = true
        }
        #expect(summary.rounds < 25)
        #expect(summary.comparison?.onePlace?.passes == 2 * summary.rounds)
        #expect(summary.comparison?.oneShard?.curve.count == 2 * summary.rounds)
    }

    /// With one client and nothing at random, the shard alone sees the same steps on the same batches.
    @Test("the comparison has the learning rates that the rounds had")
    func ratesOfTheComparison() async throws {
        let settings: [@Sendable (inout TrainingSettings) -> Void] = [
            { $0.learningRateDecay = 0.5 },
            { $0.roundSchedule = LearningRateSchedule(.cosine(steps: 5), warmupSteps: 1) },
            { $0.schedule = LearningRateSchedule(.step(size: 7, gamma: 0.2)) },
            {
                $0.roundSchedule = LearningRateSchedule(.step(size: 2))
                $0.schedule = LearningRateSchedule(.cosine(steps: 30))
                $0.localEpochs = 1
                $0.localSteps = 30
            },
        ]
        for (index, change) in settings.enumerated() {
            let scratch = try ScratchFolder()
            let summary = try await run(scratch.path) {
                $0.model.source = (try? ModelDescription(json: TinyProblem.plainModel)).map { .description($0) }
                $0.federation.workers = 1
                $0.federation.rounds = 5
                $0.training.shuffle = false
                $0.output.comparison = true
                change(&$0.training)
            }
            let metrics = try RunFolder(path: scratch.path).readMetrics()
            let curve = try #require(summary.comparison?.oneShard?.curve)
            #expect(curve.count == 10)
            for round in 1...5 {
                #expect(
                    abs(metrics[round].loss - curve[2 * round - 1].loss) < 1e-5, "setting \(index), round \(round)")
            }
        }
    }

    @Test("where rounds are a part of a pass, or of several passes, each has its share of the steps")
    func ratesWithinPasses() throws {
        var training = TrainingSettings()
        training.learningRate = 1
        #expect(ReferenceRates(training, rounds: 5, passes: 5, examples: 100, ofClient: 10) == nil)
        training.learningRateDecay = 0.5
        // Ten rounds in one pass over 100 examples: the rate is halved every ten.
        let many = try #require(ReferenceRates(training, rounds: 10, passes: 1, examples: 100, ofClient: 10)).ofPass(1)
        #expect([0, 9, 10, 29, 30, 99].map(many) == [1, 1, 0.5, 0.25, 0.125, 0x1p-9])
        // Two rounds in three passes: the second begins in the middle of the second pass.
        let few = try #require(ReferenceRates(training, rounds: 2, passes: 3, examples: 100, ofClient: 10))
        #expect([few.ofPass(1)(99), few.ofPass(2)(49), few.ofPass(2)(50), few.ofPass(3)(99)] == [1, 1, 0.5, 0.5])
        // The steps of a client, ten in each of five passes, are spread over the hundred of a round in one place.
        training.learningRateDecay = 1
        training.batchSize = 1
        training.localEpochs = 5
        training.schedule = LearningRateSchedule(.step(size: 25))
        let local = try #require(ReferenceRates(training, rounds: 2, passes: 10, examples: 100, ofClient: 10))
        #expect([local.ofPass(3)(49), local.ofPass(3)(50), local.ofPass(5)(99)] == [1, 0.1, 0.1])
        #expect([local.ofPass(6)(0), local.ofPass(8)(50)] == [1, 0.1])
    }

    @Test("the best of several runs has the best accuracy, of equals the lowest loss; NaN never wins")
    func bestSummary() async throws {
        let scratch = try ScratchFolder()
        var summary = try await run(scratch.path)
        func best(_ figures: [(accuracy: Double?, loss: Double)]) -> Int? {
            Summary.best(
                of: figures.map {
                    summary.accuracy = $0.accuracy
                    summary.loss = $0.loss
                    return summary
                })
        }
        #expect(best([(0.9, 5), (0.95, 9), (0.95, 1), (0.95, 1), (nil, 0)]) == 2)
        #expect(best([(nil, 5), (nil, 2), (nil, .nan), (nil, 2)]) == 1)
        #expect(best([(nil, .nan), (nil, 3)]) == 1)
        #expect(best([(nil, .nan)]) == nil && best([]) == nil)
    }

    @Test("a run ends when the wanted accuracy is reached")
    func targetAccuracy() async throws {
        let scratch = try ScratchFolder()
        let summary = try await run(scratch.path) {
            $0.federation.rounds = 50
            $0.federation.targetAccuracy = 0.8
        }
        #expect(summary.rounds < 50 && (summary.accuracy ?? 0) >= 0.8)
        let metrics = try RunFolder(path: scratch.path).readMetrics()
        #expect(metrics.dropLast().allSatisfy { ($0.accuracy ?? 0) < 0.8 })
    }

    @Test("settings and data that do not fit are refused before anything begins")
    func refusals() throws {
        let configuration = try TinyProblem.configuration {
            $0.federation.workers = 1000
            $0.federation.rounds = 0
        }
        let problems = #expect(throws: ConfigurationError.self) {
            _ = try RunPlan(configuration: configuration, dataset: TinyProblem.dataset(), folder: RunFolder(path: "/x"))
        }
        #expect(problems?.problems.map(\.key) == ["rounds", "workers"])
        var shape = try TinyProblem.configuration()
        shape.model.source = .description(
            try ModelDescription(
                json:
                    #"{"input": {"shape": [9]}, "layers": [{"type": "linear", "out_features": 3}], "loss": "cross_entropy"}"#
            ))
        let mismatch = #expect(throws: DeMLError.self) {
            _ = try RunPlan(configuration: shape, dataset: TinyProblem.dataset(), folder: RunFolder(path: "/x"))
        }
        #expect(mismatch?.code == .shape)
    }

    @Test("rounds train the clients that the seed draws, a different few each round, all of them in time")
    func sampling() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        _ = try await run(scratch.path, log: log) {
            $0.federation.workers = 20
            $0.federation.fraction = 0.2
            $0.federation.rounds = 30
            $0.training.localEpochs = 1
        }
        let rounds = log.events.compactMap { if case .roundStarted(let round) = $0 { round.clients } else { nil } }
        #expect(rounds.count == 30)
        for clients in rounds {
            #expect(
                Set(clients).count == 4 && clients == clients.sorted() && clients.allSatisfy { (0..<20).contains($0) })
        }
        #expect(Set(rounds).count > 25)
        #expect(Set(rounds.joined()) == Set(0..<20))
    }
}

@Suite("What may go wrong with workers")
struct TroubleTests {
    private func run(
        _ folder: String, log: EventLog = EventLog(),
        trouble: @escaping @Sendable (TroubledAttempt) async throws -> Void = { _ in },
        settings: (inout RunConfiguration) -> Void = { _ in },
        change: @escaping @Sendable (inout JobAnswer) -> Void = { _ in }
    ) async throws -> Summary {
        let plan = try TinyProblem.plan(folder, settings)
        let fleet = TroubledFleet(
            fleet: SimulatedFleet(), trouble: trouble, change: change)
        return try await Run(plan, fleet: fleet) { log.add($0) }.run()
    }

    private func undisturbed() async throws -> String {
        let scratch = try ScratchFolder()
        return try await run(scratch.path).modelSHA256
    }

    private func failure(_ message: String, isRetryable: Bool = true) -> WorkerFailure {
        var failure = WorkerFailure(
            .lost, provider: Provider(id: "a", name: "provider-a"), stage: "train", message: message,
            isRetryable: isRetryable)
        failure.standardErrorTail = "the last words"
        return failure
    }

    @Test("a training whose worker fails is given to another, and the model is the same")
    func retried() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let summary = try await run(scratch.path, log: log) { assignment in
            if assignment.client == 2, assignment.attempt <= 2 { throw failure("the machine is gone") }
        }
        #expect(summary.modelSHA256 == (try await undisturbed()))
        #expect(summary.failures == 6)
        #expect(log.failures.count == 6 && log.failures.allSatisfy { $0.next == .retry && $0.failure == .lost })
        let first = try #require(log.failures.first)
        #expect(
            first.line == "round 1, shard 2: provider-a was lost at train: the machine is gone; given to another worker"
        )
        #expect(first.standardErrorTail == "the last words")
        let record = scratch.path + "/" + (try #require(first.record))
        #expect(record == RunFolder(path: scratch.path).reports(round: 1))
        guard case .failure(let kept)? = try RunFolder(path: scratch.path).readReports(round: 1).dropFirst(4).first
        else { throw NoRecord() }
        #expect(kept.standardErrorTail == "the last words" && kept.stage == "train" && kept.attempt == 1)
    }

    @Test("without enough answers the run fails, says why, and goes on where it was when resumed")
    func tooFew() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let error = await #expect(throws: DeMLError.self) {
            try await run(scratch.path, log: log) { assignment in
                if assignment.client == 1, assignment.round == 2 { throw failure("no power") }
            }
        }
        #expect(error?.code == .workerFailed)
        #expect(error?.description.contains("no power") == true && error?.message.contains("round 2") == true)
        #expect(log.names.last == "run_failed")
        #expect(log.failures.map(\.next) == [.retry, .retry, .leftOut])
        let plan = try TinyProblem.plan(scratch.path)
        let resumed = try await Run(plan, fleet: SimulatedFleet(), resume: true).run()
        #expect(resumed.modelSHA256 == (try await undisturbed()))
    }

    @Test("a round closes with the least number of answers when the others cannot be had")
    func minimumWorkers() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let summary = try await run(scratch.path, log: log) { assignment in
            if assignment.client == 0 { throw failure("every worker says so", isRetryable: false) }
        } settings: {
            $0.federation.minWorkers = 3
        }
        #expect(summary.failures == 3 && log.failures.allSatisfy { $0.next == .leftOut })
        let metrics = try RunFolder(path: scratch.path).readMetrics()
        #expect(metrics.dropFirst().allSatisfy { $0.answers == 3 && $0.clients == 4 && $0.examples == 180 })
    }

    @Test("a fleet of this process is asked for a few clients at a time, in order, and all of them train")
    func fewAtATime() async throws {
        let scratch = try ScratchFolder()
        let counts = Mutex((busy: 0, most: 0, order: [Int]()))
        _ = try await run(scratch.path) { assignment in
            counts.withLock {
                $0.busy += 1
                $0.most = max($0.most, $0.busy)
                $0.order.append(assignment.client)
            }
        } settings: {
            $0.federation.workers = 200
            $0.federation.rounds = 1
        } change: { _ in
            counts.withLock { $0.busy -= 1 }
        }
        let (_, most, order) = counts.withLock { $0 }
        let limit = 2 * availableProcessors() + 2
        #expect(most <= limit && order.sorted() == Array(0..<200))
        #expect(order.enumerated().allSatisfy { abs($0.element - $0.offset) <= limit })
    }

    @Test("the files of deltas are removed as soon as they are averaged, or are not wanted", arguments: [false, true])
    func deltaFiles(isKept: Bool) async throws {
        let scratch = try ScratchFolder()
        let files = scratch.path + "/deltas"
        try Files.createDirectory(files)
        let round = Mutex(0)
        let left = Mutex<[String]>([])
        _ = try await run(scratch.path + "/run") { assignment in
            round.withLock { $0 = assignment.round }
            let older = try Files.names(in: files).filter { !$0.hasPrefix("\(assignment.round)-") }
            left.withLock { $0 += older }
        } settings: {
            $0.output.keepDeltas = isKept
        } change: { result in
            let path = files + "/\(round.withLock { $0 })-\(UUID().uuidString)"
            try? Files.writeAtomically([1, 2, 3], to: path)
            result.outputPath = path
            guard result.provider.id == "p2.1", case .delta(let values) = result.output else { return }
            result.output = .delta(values.map { _ in .nan })
        }
        #expect(try Files.names(in: files).isEmpty)
        for round in 1...3 {
            let names = try Files.names(in: RunFolder(path: scratch.path + "/run").round(round))
            #expect(names.filter { $0.hasPrefix("delta-") }.count == (isKept ? 4 : 0))
        }
        if !isKept { #expect(left.withLock { $0 } == []) }
    }

    @Test("the records of an older run, a file each, are read as the lines of a newer one")
    func olderRecords() async throws {
        let scratch = try ScratchFolder()
        _ = try await run(scratch.path) { assignment in
            if assignment.client == 2, assignment.attempt == 1 { throw failure("the machine is gone") }
        }
        let folder = RunFolder(path: scratch.path)
        let records = try folder.readReports(round: 2)
        #expect(records.count == 5)
        try Files.remove(folder.reports(round: 2))
        for record in records {
            let name =
                switch record {
                case .answer(let answer): "worker-000\(answer.client).json"
                case .failure(let failure): "failed-000\(failure.client)-\(failure.attempt).json"
                }
            try Files.writeAtomically([UInt8](try JSONEncoder().encode(record)), to: folder.round(2) + "/" + name)
        }
        let older = try folder.readReports(round: 2)
        let kinds = older.map { if case .failure(let failure) = $0 { failure.client + 100 } else { 0 } }
        #expect(kinds == [0, 0, 0, 0, 102])
    }

    @Test("deltas with NaN and deltas of another model are not averaged", arguments: ["nan", "count", "norm"])
    func badUpdates(kind: String) async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let spoil: @Sendable (inout JobAnswer) -> Void = { result in
            guard result.provider.id == "p1.1" else { return }
            guard case .delta(var values) = result.output else { return }
            switch kind {
            case "nan": values[17] = .nan
            case "count": values.append(0)
            default: values[0] = 1000
            }
            result.output = .delta(values)
        }
        let summary = try await run(scratch.path, log: log, settings: { $0.averaging.maxNorm = 500 }, change: spoil)
        #expect(summary.modelSHA256 == (try await undisturbed()))
        #expect(log.failures.map(\.failure) == [.badResult, .badResult, .badResult])
        #expect(log.failures.allSatisfy { $0.stage == "verify" && $0.client == 1 })
    }

    @Test("a slow worker's training is given to another, whose answer counts")
    func straggler() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let stopped = Mutex(0)
        let summary = try await run(scratch.path, log: log) { assignment in
            guard assignment.client == 3, assignment.attempt == 1 else { return }
            do { try await Task.sleep(for: .seconds(600)) } catch {
                stopped.withLock { $0 += 1 }
                throw error
            }
        } settings: {
            $0.federation.rounds = 1
            $0.limits.stragglerFactor = 1.5
        }
        #expect(summary.rounds == 1 && summary.failures == 0)
        #expect(log.names.contains("straggler_found"))
        #expect(stopped.withLock { $0 } == 1, "the slow one was stopped")
        let winner = log.events.compactMap {
            if case .attemptSucceeded(let event) = $0, event.client == 3 { event.attempt } else { nil }
        }
        #expect(winner == [2])
    }

    @Test("an error that is not about one attempt ends the run and everything that is under way")
    func fatal() async throws {
        struct NoMoney: Error {}
        let scratch = try ScratchFolder()
        let stopped = Mutex(0)
        await #expect(throws: NoMoney.self) {
            try await run(scratch.path) { assignment in
                if assignment.client == 3 { throw NoMoney() }
                do { try await Task.sleep(for: .seconds(600)) } catch {
                    stopped.withLock { $0 += 1 }
                    throw error
                }
            }
        }
        #expect(stopped.withLock { $0 } == 3)
    }
}
