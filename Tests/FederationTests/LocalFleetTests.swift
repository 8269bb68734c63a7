import Federation
import Foundation
import NeuralNetwork
import Tensors
import Testing
import Worker

@Suite("Workers as processes")
struct LocalFleetTests {
    private func run(
        _ folder: String, worker: String, log: EventLog = EventLog(),
        settings: (inout RunConfiguration) -> Void = { _ in }
    ) async throws -> Summary {
        let plan = try TinyProblem.plan(folder) {
            $0.fleet = .local
            $0.parallel = 2
            settings(&$0)
        }
        let fleet = try LocalFleet(worker: worker, configuration: plan.configuration, folder: plan.folder)
        return try await Run(plan, fleet: fleet) { log.add($0) }.run()
    }

    /// The digest of the same run in this process.
    private func simulated() async throws -> String {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path)
        return try await Run(plan, fleet: SimulatedFleet(shards: plan.clientExamples)).run().modelSHA256
    }

    @Test("processes give the bytes that the simulated fleet gives, and their progress is seen")
    func sameBytes() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let summary = try await run(scratch.path, worker: try builtWorker(), log: log) { $0.keepDeltas = true }
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(summary.fleet == "local" && summary.bytesUp > 0 && summary.bytesDown > 0)
        #expect(log.names.filter { $0 == "epoch_finished" }.count == 3 * 4 * 2)
        #expect(Set(summary.workers.map(\.provider.name)) == ["local-1", "local-2"])
        let folder = RunFolder(path: scratch.path)
        #expect(!Files.exists(folder.work), "task folders are removed")
        let delta = try Delta(
            contentsOf: folder.round(2) + "/delta-0003.safetensors.gz",
            model: try ModelDescription(json: TinyProblem.model))
        #expect(delta.weightsSHA256 == (try folder.readMetrics()[1].weightsSHA256))
        let record = try JSONDecoder().decode(
            WorkerRecord.self, from: Data(contentsOf: URL(filePath: folder.workerRecord(round: 2, client: 3))))
        #expect(record.report.deltaSHA256 == delta.sha256)
    }

    @Test("a worker that is killed is noticed, and the run finishes with the same bytes")
    func killed() async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script(
            "worker",
            """
            if /bin/mkdir \(scratch.path)/killed 2>/dev/null; then echo "about to die" >&2; kill -9 $$; fi
            exec \(try builtWorker()) "$@"
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log)
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(summary.failures == 1)
        let failure = try #require(log.failures.first)
        #expect(failure.failure == .lost && failure.exitCode == 137 && failure.next == .retry)
        #expect(failure.standardErrorTail == "about to die\n")
        #expect(failure.line.contains("local-"))
    }

    @Test("a delta that was damaged on the way is found and made anew")
    func damaged() async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script(
            "worker",
            """
            \(try builtWorker()) "$@" || exit $?
            if /bin/mkdir \(scratch.path)/damaged 2>/dev/null; then
                printf 'X' | /bin/dd of=../output/delta.safetensors.gz bs=1 seek=100 conv=notrunc 2>/dev/null
            fi
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log)
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(log.failures.map(\.failure) == [.badResult] && log.failures.first?.stage == "verify")
    }

    @Test("a delta that is not the answer to the question is refused: that of another round")
    func stale() async throws {
        let scratch = try ScratchFolder()
        let kept = scratch.path + "/kept"
        let worker = try scratch.script(
            "worker",
            """
            if [ -d \(kept) ] && /bin/mkdir \(scratch.path)/once 2>/dev/null; then
                /bin/cp \(kept)/* ../output/; exit 0
            fi
            \(try builtWorker()) "$@" || exit $?
            [ -d \(kept) ] || { /bin/mkdir \(kept); /bin/cp ../output/* \(kept)/; }
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log) { $0.parallel = 1 }
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(log.failures.map(\.failure) == [.badResult])
        #expect(log.failures.first?.message.contains("the delta is for the") == true)
    }

    @Test("a worker that hangs is killed when its time is up, and another does its work")
    func late() async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script(
            "worker",
            """
            if /bin/mkdir \(scratch.path)/hung 2>/dev/null; then echo $$ > \(scratch.path)/process; /bin/sleep 600; fi
            exec \(try builtWorker()) "$@"
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log) {
            $0.timeout = 8
            $0.stragglerFactor = 0
        }
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(log.failures.map(\.failure) == [.late])
        let process = try String(contentsOfFile: scratch.path + "/process", encoding: .utf8)
        #expect(kill(try #require(Int32(process.trimmingCharacters(in: .newlines))), 0) != 0)
    }

    @Test("what a worker refuses is told with its stage and words, and not tried again")
    func refused() async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script(
            "worker",
            """
            echo '{"status":"error","command":"train","version":"0","stage":"read-shard","code":"out-of-range",\
            "message":"the label 12 of example 0 is not in 0 ..< 3","file":"shard"}' > ../output/report.json
            echo "deml-worker: no" >&2; exit 65
            """)
        let log = EventLog()
        let error = await #expect(throws: DeMLError.self) {
            try await run(scratch.path + "/run", worker: worker, log: log)
        }
        #expect(error?.description.contains("the label 12") == true)
        let failure = try #require(log.failures.first)
        #expect(failure.failure == .worker && failure.stage == "read-shard" && failure.exitCode == 65)
        #expect(failure.next == .leftOut && failure.standardErrorTail == "deml-worker: no\n")
    }

    @Test("cancellation kills the workers")
    func cancelled() async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script("worker", "echo $$ >> \(scratch.path)/processes; /bin/sleep 600")
        let plan = try TinyProblem.plan(scratch.path + "/run") { $0.parallel = 2 }
        let fleet = try LocalFleet(worker: worker, configuration: plan.configuration, folder: plan.folder)
        let (started, signal) = AsyncStream.makeStream(of: Void.self)
        let running = Task {
            try await Run(plan, fleet: fleet) { event in
                if case .attemptStage = event.kind { signal.yield() }
            }.run()
        }
        var count = 0
        for await _ in started {
            count += 1
            if count == 2 { break }
        }
        running.cancel()
        await #expect(throws: RunInterrupted.self) { try await running.value }
        let processes = (try? String(contentsOfFile: scratch.path + "/processes", encoding: .utf8)) ?? ""
        for process in processes.split(separator: "\n").compactMap({ Int32($0) }) { #expect(kill(process, 0) != 0) }
        #expect(!Files.exists(plan.folder.work))
    }

    @Test("a worker that is not there is named before anything begins")
    func noWorker() throws {
        let error = #expect(throws: DeMLError.self) {
            _ = try LocalFleet(worker: "/nowhere/deml-worker", parallel: 1, folder: "/tmp")
        }
        #expect(error?.code == .notFound && error?.place == "/nowhere/deml-worker" && error?.hint != nil)
    }
}
