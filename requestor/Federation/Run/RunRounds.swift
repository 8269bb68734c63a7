import Aggregation
import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Tensors
import Worker

/// The rounds of a run, its comparison and its summary.
struct RunRounds: Sendable {
    let plan: RunPlan
    let fleet: any Fleet
    let store: CheckpointStore
    let journal: RunFeed
    /// When the run was asked for, and what time it is.
    let begun: Date
    let clock: @Sendable () -> Date

    private var configuration: RunConfiguration { plan.configuration }
    private var folder: RunFolder { plan.folder }

    /// Where a run stands between two rounds.
    private struct Standing: Sendable {
        var record: RoundRecord
        var weights: RoundWeights
        var aggregator: Aggregator
        var evaluation: Evaluation
    }

    func run() async throws -> Summary {
        let evaluator = SharedEvaluator(plan)
        let start = try await standing(evaluator)
        let finishedBefore = start.record.metrics.round
        journal.record(
            .runStarted(
                RunEvent.RunStarted(
                    fleet: fleet.name, workers: configuration.federation.workers,
                    clientsPerRound: configuration.clientsPerRound, rounds: configuration.federation.rounds,
                    finishedRounds: finishedBefore, parameters: plan.model.parameterCount,
                    trainExamples: plan.train.count, testExamples: plan.test.count,
                    accuracy: start.record.metrics.accuracy, loss: start.record.metrics.loss,
                    validationExamples: plan.validation?.count)))
        journal.record(.bestModel(RunEvent.Best(start.record)))
        var end = start
        var expenses: Expenses?
        var audits = start.record.audits
        if finishedBefore < configuration.federation.rounds, !start.record.isLast {
            // Of an end that is none any more, with figures that are not those of the rounds to come.
            try store.storage.remove(folder.summary)
            let shards = try plan.shards(asFiles: fleet.needsFiles, store.storage)
            let fleetPlan = FleetPlan(
                machines: configuration.machines.parallel ?? configuration.clientsPerRound, folder: folder.work)
            try store.storage.createDirectory(folder.work)
            let sessionEnd = try await fleet.withSession(fleetPlan) { [journal] in
                journal.record(.fleetNotice($0))
            } _: { session in
                let auditor = auditor(session, shards: shards, totals: start.record.audits)
                return try await auditor.working {
                    let end = try await rounds(from: start, shards: shards, session, auditor, evaluator)
                    return (end, await auditor.totals)
                }
            }
            end = sessionEnd.value.0
            audits = sessionEnd.value.1
            expenses = sessionEnd.expenses
        }
        try store.saveClientModels(end.weights)
        let mistakes = try await evaluator.mistakes(end.weights.weights)
        if mistakes.isEmpty {
            try store.storage.remove(folder.mistakes)
        } else {
            try store.storage.replace(folder.mistakes, with: try RunJSON.encode(mistakes))
        }
        let comparisonStart = clock()
        let comparison = try await comparison(rounds: end.record.metrics.round, evaluator)
        var summary = summary(end, comparison, expenses, configuration.auditPolicy == .off ? nil : audits)
        let now = clock()
        summary.comparisonSeconds = max(0, now.timeIntervalSince(comparisonStart))
        summary.wallSeconds = max(0, now.timeIntervalSince(begun)) + start.record.seconds
        try store.storage.replace(folder.summary, with: try RunJSON.encode(summary))
        return summary
    }

    /// The last finished round of a resumed run, or the untrained model, which is saved as round 0.
    private func standing(_ evaluator: SharedEvaluator) async throws -> Standing {
        var aggregator = Aggregator(configuration)
        if let checkpoint = try store.recover() {
            guard checkpoint.record.settingsSHA256.map({ $0 == configuration.fixedSettingsSHA256 }) ?? true else {
                throw DeMLError(
                    .mismatch, "its settings are not those that round \(checkpoint.round) was made with",
                    place: folder.config, hint: "put it back as it was")
            }
            let weights = try Weights(try Safetensors(decoding: checkpoint.weights))
            guard weights.model == plan.model else {
                throw DeMLError(
                    .mismatch, "the weights are of another model", place: folder.weights(round: checkpoint.round))
            }
            aggregator.optimizer.state = checkpoint.serverState
            let evaluation = try await evaluator.evaluate(weights, metrics: true)
            var record = checkpoint.record
            // A run that is given more rounds, or another goal, may go on.
            record.isLast = ending(record) != .rounds
            return Standing(
                record: record, weights: roundWeights(weights, checkpoint, try plan.clients(checkpoint.clientState)),
                aggregator: aggregator, evaluation: evaluation)
        }
        let start = ContinuousClock.now
        let weights = plan.initialWeights
        let evaluation = try await evaluator.evaluate(weights, metrics: true)
        let validation = try await evaluator.validate(weights)
        let bytes = weights.safetensors(round: 0).encoded()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let record = RoundRecord(
            initial: RoundMetrics(
                round: 0, loss: evaluation.loss, accuracy: evaluation.accuracy, seconds: seconds,
                evaluationSeconds: seconds, weightsSHA256: sha256Hex(bytes), metrics: evaluation.metrics?.overall,
                validationLoss: validation?.loss, validationAccuracy: validation?.accuracy),
            settingsSHA256: configuration.fixedSettingsSHA256)
        let checkpoint = Checkpoint(record: record, weights: bytes, serverState: [:])
        try store.save(checkpoint)
        return Standing(
            record: record, weights: roundWeights(weights, checkpoint, try plan.clients(nil)), aggregator: aggregator,
            evaluation: evaluation)
    }

    private func roundWeights(
        _ weights: Weights, _ checkpoint: Checkpoint, _ local: LocalBatchNorm?
    ) -> RoundWeights {
        RoundWeights(
            round: checkpoint.round, weights: weights,
            file: fleet.needsFiles
                ? StoredFile(
                    path: folder.weights(round: checkpoint.round), sha256: checkpoint.record.metrics.weightsSHA256,
                    byteCount: checkpoint.weights.count) : nil,
            local: local)
    }

    /// Why the rounds end with this one; `rounds` where they go on while there are some left.
    private func ending(_ record: RoundRecord) -> Summary.Ending {
        if let goal = configuration.federation.targetAccuracy, let accuracy = record.metrics.chosenBy.accuracy,
            accuracy >= goal
        {
            return .targetAccuracy
        }
        if let patience = configuration.federation.patience, record.metrics.round - record.bestRound >= patience {
            return .patience
        }
        return .rounds
    }

    private func auditor(_ session: any FleetSession, shards: [Shard], totals: AuditTotals?) -> Auditor {
        let assignment = assignments(shards)
        return Auditor(
            policy: configuration.auditPolicy, totals: totals, session: session, home: HomeTraining(plan: plan),
            assignment: { key, weights in try assignment(key.round, key.client, weights) },
            savedWeights: { [folder, plan, store] round in
                RoundWeights(
                    round: round, weights: try Weights(try Safetensors(contentsOf: folder.weights(round: round))),
                    local: try plan.clients(try store.clientState(round: round)))
            },
            journal: { [journal] in journal.record($0) })
    }

    /// What a client is asked in a round.
    private func assignments(_ shards: [Shard]) -> @Sendable (Int, Int, RoundWeights) throws -> TrainAssignment {
        let (configuration, plan) = (configuration, plan)
        return { round, client, weights in
            var assignment = TrainAssignment(
                round: round, attempt: 1, shard: shards[client],
                weights: try weights.weights(of: client, folder: plan.folder.clientWeights),
                options: try plan.trainingOptions(
                    round: round, seed: plan.randomness.training(round: round, client: client)),
                threads: configuration.machines.threads, maxSeconds: configuration.training.maxSeconds,
                timeLimit: configuration.limits.timeout)
            assignment.keepsDelta = configuration.output.keepDeltas
            return assignment
        }
    }

    /// All rounds, and again those in whose averages wrong values were found.
    private func rounds(
        from start: Standing, shards: [Shard], _ session: any FleetSession, _ auditor: Auditor,
        _ evaluator: SharedEvaluator
    ) async throws -> Standing {
        var standing = start
        while true {
            let outcome: Result<Standing, any Error>
            do {
                outcome = .success(
                    try await untilWrong(from: standing, shards: shards, session, auditor, evaluator))
            } catch let error as DeMLError where [.workerFailed, .notFinite].contains(error.code) {
                // Wrong values in an average may be what broke the round.
                if Task.isCancelled { throw error }
                await auditor.roundEnded((try folder.lastFinishedRound() ?? 0) + 1)
                outcome = .failure(error)
            }
            await auditor.runEnding()
            try await auditor.settled(through: .max)
            guard let wrong = await auditor.firstWrongRound else { return try outcome.get() }
            standing = try await wentBack(before: wrong, auditor, evaluator)
        }
    }

    /// Takes the rounds from `wrong` on out of the run.
    private func wentBack(
        before wrong: Int, _ auditor: Auditor, _ evaluator: SharedEvaluator
    ) async throws -> Standing {
        let last = max(wrong, try folder.lastFinishedRound() ?? 0)
        try store.remove(from: wrong)
        journal.record(.roundsRedone(RunEvent.RoundsRedone(from: wrong, through: last)))
        await auditor.wentBack(to: wrong - 1)
        let standing = try await standing(evaluator)
        journal.record(.bestModel(RunEvent.Best(standing.record)))
        return standing
    }

    /// Rounds up to the last, or to one after which wrong values are known to be in an average.
    private func untilWrong(
        from start: Standing, shards: [Shard], _ session: any FleetSession, _ auditor: Auditor,
        _ evaluator: SharedEvaluator
    ) async throws -> Standing {
        var standing = start
        // A fleet that needs no files need not wait for the disk: a round is saved while the next one trains.
        var saving: Task<Void, any Error>?
        do {
            while standing.record.metrics.round < configuration.federation.rounds, !standing.record.isLast {
                var (next, checkpoint) = try await round(
                    after: standing, shards: shards, session, auditor, evaluator)
                try await saving?.value
                // What had to be looked at of the round before had the time of this one.
                try await auditor.settled(through: standing.record.metrics.round)
                if await auditor.firstWrongRound != nil { return standing }
                if configuration.auditPolicy != .off {
                    next.record.audits = await auditor.totals
                    checkpoint.record.audits = next.record.audits
                }
                if fleet.needsFiles {
                    try store.save(checkpoint)
                    finish(next)
                } else {
                    let (store, checkpoint, next) = (store, checkpoint, next)
                    saving = Task {
                        try await onOwnThread(named: "checkpoint") { try store.save(checkpoint) }
                        finish(next)
                    }
                }
                try journal.check()
                standing = next
            }
            try await saving?.value
        } catch {
            // What has been averaged is worth keeping, whatever comes after.
            _ = await saving?.result
            throw error
        }
        return standing
    }

    private func finish(_ standing: Standing) {
        let record = standing.record
        journal.record(.roundFinished(record.metrics))
        if record.bestRound == record.metrics.round { journal.record(.bestModel(RunEvent.Best(record))) }
    }

    /// One round from the weights before to the weights after, evaluated but not yet saved.
    private func round(
        after standing: Standing, shards: [Shard], _ session: any FleetSession, _ auditor: Auditor,
        _ evaluator: SharedEvaluator
    ) async throws -> (Standing, Checkpoint) {
        let round = standing.record.metrics.round + 1
        let start = ContinuousClock.now
        let clients = plan.randomness.clients(
            round: round, count: configuration.clientsPerRound, of: configuration.federation.workers)
        journal.record(
            .roundStarted(
                RunEvent.RoundStarted(round: round, rounds: configuration.federation.rounds, clients: clients)))
        let costBefore = await session.expenses()?.costGLM
        let averaging = averaging(clients: clients, standing: standing, shards: shards)
        await auditor.roundBegan(round, standing.weights)
        let collected = try await driver(
            round: round, standing: standing, shards: shards, session, auditor, averaging
        ).run(self.round(round, clients: clients, shards: shards))
        await auditor.roundEnded(round)
        let local = averaging.kept
        try store.storage.remove(folder.clientWeights)

        var next = standing
        let weightsBefore = standing.weights.weights
        let (weights, norm, aggregator) = try await averaging.finish { [aggregator = standing.aggregator] average in
            var aggregator = aggregator
            let (averaged, norm) = try aggregator.step(
                weightsBefore.parameters, average: average, buffers: weightsBefore.model.buffers)
            let parameters = local?.withMean(averaged) { shards[$0].count } ?? averaged
            var weights = try Weights(model: weightsBefore.model, parameters: parameters, round: round)
            weights.schema = weightsBefore.schema
            return (weights, norm, aggregator)
        }
        next.aggregator = aggregator
        let evaluationStart = ContinuousClock.now
        next.evaluation = try await evaluator.evaluate(weights, metrics: true)
        let validation = try await evaluator.validate(weights)
        let end = ContinuousClock.now
        let costAfter = await session.expenses()?.costGLM

        let bytes = weights.safetensors(round: round).encoded()
        var metrics = RoundMetrics(
            round: round, loss: next.evaluation.loss, accuracy: next.evaluation.accuracy,
            seconds: (end - start) / .seconds(1), evaluationSeconds: (end - evaluationStart) / .seconds(1),
            bytesUp: collected.bytesUp, bytesDown: collected.bytesDown,
            costGLM: costAfter.map { $0 - (costBefore ?? 0) }, clients: clients.count,
            answers: collected.answers.count, failures: collected.failures.count,
            examples: collected.answers.reduce(0) { $0 + $1.examples }, updateNorm: norm,
            weightsSHA256: sha256Hex(bytes), metrics: next.evaluation.metrics?.overall,
            validationLoss: validation?.loss, validationAccuracy: validation?.accuracy)
        metrics.takeTraining(collected.answers)
        next.record.add(metrics, collected)
        next.record.isLast = ending(next.record) != .rounds

        var checkpoint = Checkpoint(
            record: next.record, weights: bytes, serverState: next.aggregator.optimizer.state,
            clientState: local?.safetensors())
        checkpoint.take(collected)
        next.weights = roundWeights(weights, checkpoint, local)
        return (next, checkpoint)
    }

    /// The round before it begins.
    private func round(_ number: Int, clients: [Int], shards: [Shard]) -> Round {
        let parameters = plan.model.parameterCount
        let maximumNorm = configuration.averaging.maxNorm
        let clientsOwn = configuration.averaging.localBatchNorm ? LocalBatchNorm(plan.model.batchNorms) : nil
        let allowsPartialWork = configuration.training.maxSeconds != nil
        return Round(
            number: number, clients: clients,
            work: Dictionary(uniqueKeysWithValues: clients.map { ($0, Double(shards[$0].count)) }),
            rules: RoundMachine.Rules(
                requiredAnswers: configuration.federation.requiredWorkers, retries: configuration.limits.retries,
                stragglerFactor: fleet.hasOtherMachines ? configuration.limits.stragglerFactor : 0,
                roundTimeout: configuration.limits.roundTimeout),
            keepsDeltas: configuration.output.keepDeltas,
            // A fleet in this process works on a few clients at a time, and may be faster than the average.
            mostUnderWay: fleet.needsFiles
                ? .max : 2 * max(availableProcessors(), configuration.machines.parallel ?? 1) + 2,
            check: { update throws(DeMLError) in
                try update.check(parameters: parameters, maximumNorm: clientsOwn == nil ? maximumNorm : nil)
                // A limit is for what enters the average.
                try clientsOwn?.shared(update).check(parameters: parameters, maximumNorm: maximumNorm)
                // The shares of an average that is under way rest on it.
                guard update.examples == shards[update.client].count, allowsPartialWork || update.workDone == 1 else {
                    throw DeMLError(
                        .mismatch,
                        "the delta stands for \(update.workDone) of a training on \(update.examples) examples, but the"
                            + " whole of one on its shard was asked for")
                }
            })
    }

    private func averaging(clients: [Int], standing: Standing, shards: [Shard]) -> Averaging {
        // Where a client may be left out, or stop early, the shares are not known before the end.
        let isComplete =
            configuration.federation.requiredWorkers == clients.count && configuration.training.maxSeconds == nil
        return Averaging(
            standing.aggregator.average(
                of: clients, totalExamples: isComplete ? clients.reduce(0) { $0 + shards[$1].count } : nil,
                on: DeltaShelf(parameters: plan.model.parameterCount, folder: folder.work)),
            local: standing.weights.local, from: standing.weights.weights.parameters)
    }

    private func driver(
        round: Int, standing: Standing, shards: [Shard], _ session: any FleetSession, _ auditor: Auditor,
        _ averaging: Averaging
    ) -> RoundDriver {
        let assignment = assignments(shards)
        return RoundDriver(
            session: session, auditor: auditor,
            assignment: { client in try assignment(round, client, standing.weights) },
            average: averaging.add,
            journal: { [journal] in journal.record($0) })
    }

    /// Trains the same model without a federation, unless that is done already.
    /// - Parameter rounds: that were made, which a target accuracy may have ended early.
    private func comparison(rounds: Int, _ evaluator: SharedEvaluator) async throws -> Comparison? {
        guard configuration.output.comparison else { return nil }
        let passes = configuration.passes(rounds: rounds, examples: plan.train.count)
        let training = ReferenceTraining(
            plan: plan, rounds: rounds, passes: passes, evaluator: evaluator, journal: journal)
        if let done: SavedComparison = try? folder.decode(folder.comparison), done.passes == passes,
            done.rounds == rounds
        {
            return done.comparison
        }
        let comparison = Comparison(
            onePlace: try await unlessDiverged(.onePlace, training),
            oneShard: try await unlessDiverged(.oneShard, training))
        try store.storage.replace(
            folder.comparison,
            with: try RunJSON.encode(SavedComparison(rounds: rounds, passes: passes, comparison: comparison)))
        return comparison
    }

    /// A training without a federation may diverge where the federated one did not: no reason to lose the summary.
    private func unlessDiverged(
        _ reference: RunEvent.Reference, _ training: ReferenceTraining
    ) async throws -> ReferenceResult? {
        do { return try await training.train(reference) } catch let error as DeMLError where error.code == .notFinite {
            let name = reference == .onePlace ? "in one place" : "on one shard"
            journal.record(
                .fleetNotice(FleetNotice(.warning, "the comparison's training \(name) diverged: \(error.summary)")))
            return nil
        }
    }

    private func summary(
        _ end: Standing, _ comparison: Comparison?, _ expenses: Expenses?, _ audits: AuditTotals?
    ) -> Summary {
        let record = end.record
        return Summary(
            accuracy: record.metrics.accuracy, loss: record.metrics.loss, rounds: record.metrics.round,
            seconds: record.seconds, bytesUp: record.bytesUp, bytesDown: record.bytesDown,
            costGLM: max(record.costGLM, expenses?.costGLM ?? 0), modelSHA256: record.metrics.weightsSHA256,
            bestRound: record.bestRound, bestAccuracy: record.bestOnTest.accuracy, bestLoss: record.bestOnTest.loss,
            comparison: comparison, workers: record.workers, failures: record.failures,
            agreements: expenses?.agreements ?? [],
            confusion: end.evaluation.confusion.isEmpty ? nil : end.evaluation.confusion,
            labelCounts: plan.labels?.counts, parameters: plan.model.parameterCount, fleet: fleet.name,
            metrics: end.evaluation.metrics, chosenOn: record.metrics.chosenOn,
            bestValidationAccuracy: plan.validation == nil ? nil : record.bestAccuracy,
            bestValidationLoss: plan.validation == nil ? nil : record.bestLoss, endedBy: ending(record),
            audits: audits)
    }
}

/// `comparison.json`
struct SavedComparison: Codable {
    /// What it was made for: a run that is given more rounds is compared anew.
    var rounds: Int
    var passes: Int
    var comparison: Comparison
}

extension RoundMetrics {
    /// Mean loss and accuracy of the last local epoch, weighted by examples.
    mutating func takeTraining(_ answers: [WorkerRecord]) {
        var loss = 0.0
        var accuracy = 0.0
        var examples = 0.0
        var hasAccuracy = true
        for answer in answers {
            guard let epoch = answer.report.training?.epochs.last else { continue }
            let share = Double(answer.examples)
            loss += share * epoch.loss
            if let value = epoch.accuracy { accuracy += share * value } else { hasAccuracy = false }
            examples += share
        }
        guard examples > 0 else { return }
        trainLoss = loss / examples
        trainAccuracy = hasAccuracy ? accuracy / examples : nil
    }
}

extension RoundRecord {
    /// Goes on to the next round.
    mutating func add(_ metrics: RoundMetrics, _ collected: Round.Result) {
        let chosenBy = metrics.chosenBy
        if metrics.merit.isBetter(than: bestMerit) {
            bestRound = metrics.round
            bestAccuracy = chosenBy.accuracy
            bestLoss = chosenBy.loss
            takeTest(metrics)
        }
        self.metrics = metrics
        seconds += metrics.seconds
        bytesUp += metrics.bytesUp
        bytesDown += metrics.bytesDown
        costGLM += metrics.costGLM ?? 0
        failures += metrics.failures
        for result in collected.answers {
            totals(of: result.provider) { totals in
                let speed = result.report.training?.machine.samplesPerSecond ?? 0
                totals.samplesPerSecond += (speed - totals.samplesPerSecond) / Double(totals.tasks + 1)
                totals.tasks += 1
                totals.examples += result.report.training?.trainedExamples ?? 0
                totals.seconds += result.seconds
                totals.bytesUp += result.bytesUp
                totals.bytesDown += result.bytesDown
                if let cost = result.costGLM { totals.costGLM = (totals.costGLM ?? 0) + cost }
            }
        }
        for failure in collected.failures {
            guard let provider = failure.provider else { continue }
            totals(of: provider) { totals in
                totals.failures += 1
                totals.seconds += failure.seconds
                totals.bytesUp += failure.bytesUp
                totals.bytesDown += failure.bytesDown
                if let cost = failure.costGLM { totals.costGLM = (totals.costGLM ?? 0) + cost }
            }
        }
        workers.sort {
            $0.provider.name.count == $1.provider.name.count
                ? $0.provider.name < $1.provider.name : $0.provider.name.count < $1.provider.name.count
        }
    }

    private mutating func totals(of provider: Provider, _ change: (inout WorkerTotals) -> Void) {
        let index = workers.firstIndex { $0.provider.id == provider.id } ?? workers.count
        if index == workers.count { workers.append(WorkerTotals(provider: provider)) }
        change(&workers[index])
    }
}

extension Checkpoint {
    /// Adds what the workers of the round have said, and the deltas that are kept.
    mutating func take(_ collected: Round.Result) {
        reports = collected.answers.map(AttemptRecord.answer) + collected.failures.map(AttemptRecord.failure)
        moved = collected.deltaPaths.sorted { $0.key < $1.key }
            .map { (path: $0.value, name: RunFolder.deltaName(client: $0.key)) }
    }
}
