import Fleets
import Foundation
import Golem
import GolemFleet
import Jobs
import NeuralNetwork
import Synchronization
import Tensors
import Testing

/// A small run: three shards, one round's weights.
struct FakeRun {
    static let options = TrainingOptions(epochs: 1, batchSize: 2)

    static func weights(_ file: Safetensors) throws -> Weights { try Weights(file) }

    let folder: String
    let shards: [(file: StoredFile, count: Int)]
    let weights: StoredFile
    let model: ModelDescription

    init() throws {
        folder = FileManager.default.temporaryDirectory.path + "/golem-fleet-\(UUID().uuidString)"
        try Files.createDirectory(folder)
        let model = try ModelDescription(
            json: #"{"input":{"shape":[2]},"layers":[{"type":"linear","out_features":2}],"loss":"cross_entropy"}"#)
        var shards: [(file: StoredFile, count: Int)] = []
        for index in 0..<3 {
            let count = 4 + index
            let file = Safetensors(
                tensors: [
                    ("x", Tensor(shape: [count, 2], floats: [Float](repeating: Float(index), count: 2 * count))),
                    ("y", Tensor(shape: [count], bytes: [UInt8](repeating: 0, count: count))),
                ], metadata: [:])
            let path = folder + "/shard-\(index).safetensors.gz"
            let sha256 = try file.write(to: path)
            shards.append(
                (StoredFile(path: path, sha256: sha256, byteCount: Files.size(of: path)!), count))
        }
        let initial = Initializer.weights(for: model, seed: 0)
        let path = folder + "/weights.safetensors"
        let sha256 = try initial.safetensors(round: 0).write(to: path)
        self.shards = shards
        weights = StoredFile(path: path, sha256: sha256, byteCount: Files.size(of: path)!)
        self.model = model
    }

    func job(_ client: Int, round: Int = 1, attempt: Int = 1, avoiding: Set<String> = []) -> FleetJob {
        FleetJob(
            name: "\(round)-\(client)-\(attempt)", title: "round \(round), shard \(client)", kind: .train(Self.options),
            inputs: [.weights: .file(weights), .shard: .file(shards[client].file)], model: model,
            examples: shards[client].count, timeLimit: 20, avoiding: avoiding)
    }

    /// Runs `body` with a fleet on these providers.
    func with<Value: Sendable>(
        _ providers: [(String, FakeMachine.Fault)], memory: ProviderMemory,
        notices: Notices = Notices(),
        _ body: @Sendable @escaping (any FleetSession, FakeSource) async throws -> Value
    ) async throws -> Value {
        let source = FakeSource(providers, folder: folder)
        try Files.createDirectory(folder + "/work")
        let fleet = GolemFleet(settings: GolemSettings(), memory: memory) { _, body in try await body(source) }
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let plan = FleetPlan(machines: min(3, providers.count), folder: folder + "/work")
        return try await fleet.withSession(plan) {
            notices.add($0)
        } _: { session in
            try await body(session, source)
        }.value
    }
}

/// What a fleet told meanwhile.
final class Notices: Sendable {
    private let notices = Mutex([FleetNotice]())

    var all: [FleetNotice] { notices.withLock { $0 } }
    func add(_ notice: FleetNotice) { notices.withLock { $0.append(notice) } }
}

@Suite(.timeLimit(.minutes(2))) struct GolemFleetTests {
    private let run: FakeRun
    private let memory: ProviderMemory

    init() throws {
        run = try FakeRun()
        memory = try ProviderMemory()
    }

    private func train(_ session: any FleetSession, round: Int) async throws -> [JobAnswer] {
        try await withThrowingTaskGroup(of: JobAnswer.self) { group in
            for client in 0..<3 {
                group.addTask { [run] in try await session.perform(run.job(client, round: round)) { _ in } }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test func shardsGoOnceAndWeightsOnceARound() async throws {
        try await run.with([("a", .none), ("b", .none), ("c", .none)], memory: memory) { session, source in
            for round in 1...3 {
                let results = try await train(session, round: round)
                #expect(Set(results.compactMap { $0.delta?.first }) == [4, 5, 6])
                #expect(results.allSatisfy { $0.costGLM! > 0 })
            }
            // A machine that was free again at once may have done two; none got anything twice. The weights did not change.
            let uploads = source.log.lines.filter { $0.contains("upload") }
            #expect(Set(uploads).count == uploads.count, "\(uploads)")
            #expect(Set(uploads.compactMap { $0.split(separator: " ").last }).count == 4)
            #expect(source.log.count("discard") == 0)
            // The pool hears of each, though it gets no machine back.
            #expect(source.log.count("worked") == 9)
            #expect(await session.expenses()?.costGLM == 0.5)
        }
        #expect(try memory.records(at: Date()).reduce(0) { $0 + $1.successes } > 8.9)
    }

    @Test func progressTellsWhoAndWhat() async throws {
        let seen = Mutex([JobProgress]())
        try await run.with([("a", .none)], memory: memory) { session, _ in
            _ = try await session.perform(run.job(0)) { progress in seen.withLock { $0.append(progress) } }
        }
        let all = seen.withLock { $0 }
        #expect(all.first == .started(Provider(id: "0xa", name: "a")))
        #expect(all.contains(.stage("upload")) && all.contains(.stage("train")))
        #expect(all.contains { if case .epoch(let epoch) = $0 { epoch.loss == 0.5 } else { false } })
    }

    @Test func damageOnTheWayIsFetchedAgain() async throws {
        try await run.with([("a", .damages(1))], memory: memory) { session, source in
            let result = try await session.perform(run.job(0)) { _ in }
            #expect(result.delta == [Float](repeating: 4, count: 6))
            #expect(source.log.count("download delta") == 2)
            #expect(source.log.count("discard") == 0)
        }
    }

    /// A provider's word that a transfer is done is not the file.
    @Test func fileThatWasReportedButNotSentIsAskedForAgain() async throws {
        try await run.with([("a", .claims(1))], memory: memory) { session, source in
            let result = try await session.perform(run.job(0)) { _ in }
            #expect(result.delta == [Float](repeating: 4, count: 6))
            #expect(source.log.count("download delta") == 2 && source.log.count("upload weights") == 1)
            #expect(source.log.count("discard") == 0)
        }
    }

    @Test func filesThatNeverComeAreBlamed() async throws {
        try await run.with([("a", .claims(.max)), ("b", .none)], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(run.job(0, avoiding: ["0xb"])) { _ in }
            } throws: { error in
                guard let failure = error as? WorkerFailure else { return false }
                return failure.kind == .badResult && failure.stage == "download"
                    && failure.message.contains("did not finish sending") && failure.bytesUp > 0
            }
            #expect(source.log.count("a#1 discard blame true pay false") == 1, "\(source.log.lines)")
            #expect(source.log.count("worked") == 0)
        }
        #expect(try memory.record("0xa", at: Date())?.failures ?? 0 > 0.9)
    }

    @Test func resultsToldTwiceBelongToTheirStepsAllTheSame() async throws {
        try await run.with([("a", .tellsTwice)], memory: memory) { session, source in
            for client in 0..<3 {
                let result = try await session.perform(run.job(client)) { _ in }
                #expect(result.delta?.first == Float(4 + client))
            }
            #expect(source.log.count("discard") == 0 && source.log.count("upload weights") == 1)
        }
    }

    @Test func machineThatTakesNoFileIsLeft() async throws {
        try await run.with([("a", .takesNothing), ("b", .none)], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(run.job(0, avoiding: ["0xb"])) { _ in }
            } throws: { error in
                (error as? WorkerFailure)?.stage == "upload"
                    && (error as? WorkerFailure)?.message.contains("No space left on device") == true
            }
            #expect(source.log.count("a#1 discard blame true") == 1)
        }
    }

    @Test func endOfTheAgreementIsNobodysFault() async throws {
        var long = run.job(0)
        long.timeLimit = 60
        let job = long
        try await run.with([("a", .brief(1))], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(job) { _ in }
            } throws: { error in
                (error as? WorkerFailure)?.kind == .lost
                    && (error as? WorkerFailure)?.message.contains("agreement ended before the work did") == true
            }
            #expect(source.log.count("discard blame false") == 1, "\(source.log.lines)")
        }
        #expect(try memory.record("0xa", at: Date()) == nil)
    }

    @Test func workIsCutToWhatTheAgreementHolds() async throws {
        var long = run.job(0)
        long.limits = .init(maxSeconds: 3600, allowsPartialWork: true)
        let job = long
        let notices = Notices()
        try await run.with(
            [("a", .holds(1500))], memory: memory, notices: notices
        ) { session, source in
            _ = try await session.perform(job) { _ in }
            let line = try #require(source.log.lines.first { $0.contains(" run ") })
            let asked = try WorkerJob(json: line[try #require(line.firstIndex(of: "{"))...].utf8)
            #expect(asked.limits.allowsPartialWork)
            let seconds = try #require(asked.limits.maxSeconds)
            #expect(seconds > 1300 && seconds < 1500)
            #expect(source.log.count("discard") == 0)
        }
        #expect(notices.all.contains { $0.message.contains("because the agreement ends") })
    }

    @Test func whatTheProgramPrintsDoesNotCount() async throws {
        try await run.with([("a", .silent)], memory: memory) { session, source in
            let result = try await session.perform(run.job(0)) { _ in }
            #expect(result.delta == [Float](repeating: 4, count: 6))
            #expect(source.log.count("download delta") == 1 && source.log.count("discard") == 0)
        }
    }

    /// Three megabytes of empty lines once took two minutes to read, which the provider was paid for.
    @Test func emptyLinesCostNoTime() async throws {
        let clock = ContinuousClock()
        try await run.with([("a", .prints(3_000_000))], memory: memory) { session, source in
            let time = try await clock.measure { _ = try await session.perform(run.job(0)) { _ in } }
            #expect(time < .seconds(20), "\(time)")
            #expect(source.log.count("discard") == 0)
        }
    }

    @Test func machineWithoutRoomForItsOutputIsLeft() async throws {
        try await run.with([("a", .full), ("b", .none)], memory: memory) { session, source in
            for attempt in 1...2 {
                await #expect {
                    _ = try await session.perform(run.job(0, attempt: attempt, avoiding: ["0xb"])) { _ in }
                } throws: { error in
                    (error as? WorkerFailure)?.message.contains("No space left") == true
                }
            }
            #expect(source.log.count("discard blame true pay false") == 2, "\(source.log.lines)")
        }
        #expect(try memory.record("0xa", at: Date())?.isAskedLast == true)
    }

    @Test func wrongWorkIsUnpaidLeftAndRemembered() async throws {
        try await run.with([("a", .none), ("b", .none)], memory: memory) { session, source in
            let answer = try await session.perform(run.job(0, avoiding: ["0xb"])) { _ in }
            await session.judge(.open, of: answer.provider)
            await session.judge(.wrong("it lied", isPaid: false), of: answer.provider)
            await session.judge(.closed, of: answer.provider)
            #expect(source.log.lines.suffix(3) == ["hold a", "leave a pay false", "release a"])
            // Its machine is not lent any more, though it is idle and has the shard.
            let again = try await session.perform(run.job(0, attempt: 2)) { _ in }
            #expect(again.provider.name == "b")
        }
        #expect(try memory.record("0xa", at: Date())?.isAskedLast == true)
        #expect(try memory.record("0xa", at: Date())?.reason == "it lied")
    }

    @Test func oneStepIsNoTraining() async throws {
        try await run.with([("a", .lazy), ("b", .none)], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(run.job(0, avoiding: ["0xb"])) { _ in }
            } throws: { error in
                (error as? WorkerFailure)?.kind == .badResult
                    && (error as? WorkerFailure)?.message.contains("1 steps, stopped early") == true
            }
            #expect(source.log.count("a#1 discard blame true") == 1)
            var partial = run.job(0, attempt: 2, avoiding: ["0xb"])
            partial.limits = .init(maxSeconds: 10, allowsPartialWork: true)
            let answer = try await session.perform(partial) { _ in }
            #expect(answer.receipt.training?.workDone(of: FakeRun.options) == 0.5)
        }
    }

    @Test func lastingDamageIsBlamed() async throws {
        try await run.with([("a", .damages(.max)), ("b", .none)], memory: memory) { session, source in
            var failures: [WorkerFailure] = []
            for _ in 0..<2 {
                do {
                    _ = try await session.perform(run.job(0, avoiding: ["0xb"])) { _ in }
                } catch let failure as WorkerFailure {
                    failures.append(failure)
                }
            }
            #expect(failures.map(\.kind) == [.badResult, .badResult])
            #expect(failures.allSatisfy { $0.message.contains("not what the worker made") && $0.stage == "download" })
            #expect(source.log.count("blame true pay false") == 2, "\(source.log.lines)")
            // Left after the second failure: only b is there now, avoided or not.
            let result = try await session.perform(run.job(0)) { _ in }
            #expect(result.provider.name == "b")
        }
        #expect(try memory.record("0xa", at: Date())?.isAskedLast == true)
    }

    @Test func lostMachineIsReplaced() async throws {
        try await run.with([("a", .dies), ("b", .none)], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(run.job(0, avoiding: ["0xb"])) { _ in }
            } throws: { error in
                (error as? WorkerFailure)?.kind == .lost && (error as? WorkerFailure)?.provider?.name == "a"
            }
            let result = try await session.perform(run.job(0, attempt: 2, avoiding: ["0xa"])) { _ in }
            #expect(result.provider.name == "b")
        }
    }

    @Test func hangingProgramIsLate() async throws {
        try memory.succeeded("0xa", name: "a", speed: 1e6, at: Date())
        var short = run.job(0)
        short.timeLimit = 0.3
        let job = short
        try await run.with([("a", .hangs)], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(job) { _ in }
            } throws: { error in
                (error as? WorkerFailure)?.kind == .late
            }
            #expect(source.log.count("blame true pay false") == 1)
        }
    }

    @Test func cancelledTaskGivesTheMachineUpWithoutBlame() async throws {
        try await run.with([("a", .hangs)], memory: memory) { session, source in
            let task = Task { try await session.perform(run.job(0)) { _ in } }
            while source.log.count(" run ") == 0 { try await Task.sleep(for: .milliseconds(5)) }
            task.cancel()
            await #expect {
                _ = try await task.value
            } throws: { error in
                (error as? WorkerFailure)?.kind == .cancelled
            }
            #expect(source.log.count("blame false pay true") == 1)
        }
        #expect(try memory.record("0xa", at: Date()) == nil)
    }

    @Test func whatTheWorkerRefusesIsNotTheProvidersFault() async throws {
        try await run.with([("a", .exits(65, "labels reach 12"))], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(run.job(0)) { _ in }
            } throws: { error in
                guard let failure = error as? WorkerFailure else { return false }
                return failure.kind == .worker && failure.stage == "read-shard" && failure.exitCode == 65
                    && failure.message.contains("labels reach 12")
                    && failure.standardErrorTail?.contains("labels") == true
            }
            #expect(source.log.count("discard") == 0)
        }
    }

    @Test func missingProgramIsToldFromAKilledOne() async throws {
        try await run.with([("a", .exits(9, nil))], memory: memory) { session, source in
            await #expect {
                _ = try await session.perform(run.job(0)) { _ in }
            } throws: { error in
                (error as? WorkerFailure)?.message.contains("no such executable") == true
            }
            #expect(source.log.count("blame true") == 1)
        }
    }

    @Test func marketWithoutMachinesEndsTheRun() async throws {
        let fleet = GolemFleet(settings: GolemSettings(), memory: memory) { _, _ in
            throw GolemError(.noMachine, "nobody offers a machine", hint: "deml offers")
        }
        await #expect {
            let plan = FleetPlan(machines: 3, folder: run.folder + "/work")
            _ = try await fleet.withSession(plan) { _ in
            } _: { _ in
            }
        } throws: { error in
            (error as? DeMLError)?.exitCode == 69
        }
    }

    @Test func resumedRunGoesOnWithItsLedger() throws {
        let folder = run.folder + "/r ü"
        try Files.createDirectory(folder)
        #expect(try GolemFleet.runName(folder, isNew: false) == nil)
        let name = try #require(try GolemFleet.runName(folder))
        #expect(try GolemFleet.runName(folder) == name)
        #expect(name.allSatisfy { $0.isASCII && $0 != " " && $0 != "/" })
        try Files.remove(folder + "/golem-run")
        #expect(try GolemFleet.runName(folder) != name)
    }
}

extension JobAnswer {
    fileprivate var delta: [Float]? {
        if case .delta(let values) = output { values } else { nil }
    }
}
