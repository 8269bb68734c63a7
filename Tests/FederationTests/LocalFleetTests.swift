import Federation
import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Tensors
import TestSupport
import Testing

@Suite("Workers as processes")
struct LocalFleetTests {
    private func run(
        _ folder: String, worker: String, log: EventLog = EventLog(),
        settings: (inout RunConfiguration) -> Void = { _ in }
    ) async throws -> Summary {
        let plan = try TinyProblem.plan(folder) {
            $0.machines.fleet = .local
            $0.machines.parallel = 2
            settings(&$0)
        }
        let fleet = try LocalFleet(worker: worker, configuration: plan.configuration)
        return try await Run(plan, fleet: fleet) { log.add($0) }.run()
    }

    /// The digest of the same run in this process.
    private func simulated() async throws -> String {
        let scratch = try ScratchFolder()
        let plan = try TinyProblem.plan(scratch.path)
        return try await Run(plan, fleet: SimulatedFleet()).run().modelSHA256
    }

    @Test("processes give the bytes that the simulated fleet gives, and their progress is seen")
    func sameBytes() async throws {
        let scratch = try ScratchFolder()
        let log = EventLog()
        let summary = try await run(scratch.path, worker: try builtWorker(), log: log) { $0.output.keepDeltas = true }
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
        guard case .answer(let record) = try folder.readReports(round: 2)[3] else { throw NoRecord() }
        #expect(record.report.digests?.output == delta.sha256)
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
                printf 'X' | /bin/dd of=delta.safetensors bs=1 seek=4000 conv=notrunc 2>/dev/null
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
                /bin/cp \(kept)/* .; exit 0
            fi
            \(try builtWorker()) "$@" || exit $?
            [ -d \(kept) ] || { /bin/mkdir \(kept); /bin/cp delta.safetensors report.json \(kept)/; }
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log) { $0.machines.parallel = 1 }
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(log.failures.map(\.failure) == [.badResult])
        #expect(log.failures.first?.message.contains("the report is for the") == true)
    }

    @Test(
        "a report that cannot be true is refused by name, and the run goes on with the same bytes",
        arguments: [
            (#"s/"examples":[0-9]*/"examples":9223372036854775807/"#, "9223372036854775807 examples"),
            (#"s/"samples_per_second":[^,}]*/"samples_per_second":-1/"#, "samples_per_second -1.0"),
            (#"s/"samples_per_second":[^,}]*/"samples_per_second":NaN/"#, "no report of a worker"),
            (#"s/"seconds":[^,}]*/"seconds":1e300/g"#, "seconds"),
            (#"s/"steps":[0-9]*/"steps":1/;s/"stopped_early":false/"stopped_early":true/"#, "1 steps, stopped early"),
            (#"s/"steps":[0-9]*/"steps":9223372036854775807/"#, "9223372036854775807 steps"),
            (#"s/"loss":[^,}]*/"loss":1e300/g"#, "loss"), (#"s/"accuracy":[^,}]*/"accuracy":1e300/g"#, "accuracy"),
            (#"s/"epochs":\[[^]]*\]/"epochs":[]/"#, "0 epochs"), (#"s/"threads":[0-9]*/"threads":-1/"#, "-1 threads"),
            (#"s/"delta_sha256":"../"delta_sha256":"zz/"#, "SHA-256"),
            (#"s/"weights_sha256":"../"weights_sha256":"zz/"#, "weights"),
            (#"s/"status":"ok"/"status":"running"/"#, "running"),
        ])
    func hostileReport(change: String, message: String) async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script(
            "worker",
            """
            \(try builtWorker()) "$@" || exit $?
            if /bin/mkdir \(scratch.path)/once 2>/dev/null; then /bin/sed -i '\(change)' report.json; fi
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log)
        #expect(summary.modelSHA256 == (try await simulated()))
        #expect(log.failures.map(\.failure) == [.badResult])
        #expect(log.failures.first?.message.contains(message) == true, "\(log.failures.first?.message ?? "")")
        #expect(log.failures.first?.provider?.name.hasPrefix("local-") == true)
    }

    @Test("what a worker prints cannot fool the run: only lines of its job are seen")
    func hostileOutput() async throws {
        let scratch = try ScratchFolder()
        let worker = try scratch.script(
            "worker",
            #"""
            /usr/bin/head -c 300000 /dev/zero | /usr/bin/tr '\0' '\n'
            echo 'epoch 9223372036854775807/9223372036854775807 loss 1 samples_per_second 1'
            echo 'epoch 1/2 loss nan samples_per_second 1'
            echo 'epoch 1/2 loss 1 samples_per_second 1e300'
            echo "delta_sha256 $(/usr/bin/head -c 64 /dev/zero | /usr/bin/tr '\0' '0')"

            """# + #"exec \#(try builtWorker()) "$@""#)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log) { $0.federation.rounds = 1 }
        #expect(summary.failures == 0)
        let epochs = log.events.compactMap { if case .epochFinished(let epoch) = $0 { epoch.progress } else { nil } }
        // The third line is one that a worker might print, and takes the place of its first epoch; its rate is cut.
        #expect(epochs.count == 4 * 2 && epochs.allSatisfy { (1...2).contains($0.epoch) && $0.epochs == 2 })
        #expect(epochs.allSatisfy { $0.samplesPerSecond <= Receipt.maximumRate })
    }

    @Test("a delta of one step counts only where partial work is permitted, and then for what it is")
    func partialWork() async throws {
        let scratch = try ScratchFolder()
        // Stops after the first batch, whatever it was told.
        let worker = try scratch.script(
            "worker",
            """
            /bin/sed -i 's/"max_seconds":[0-9.]*/"max_seconds":1e-09/' job.json
            exec \(try builtWorker()) "$@"
            """)
        let log = EventLog()
        let summary = try await run(scratch.path + "/run", worker: worker, log: log) {
            $0.federation.rounds = 1
            $0.training.maxSeconds = 1000
        }
        #expect(summary.failures == 0)
        let reports = try RunFolder(path: scratch.path + "/run").readReports(round: 1)
        guard case .answer(let record)? = reports.first else { throw NoRecord() }
        #expect(record.report.training?.steps == 1 && record.report.training?.stoppedEarly == true)
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
            $0.limits.timeout = 8
            $0.limits.stragglerFactor = 0
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
            "message":"the label 12 of example 0 is not in 0 ..< 3","file":"shard"}' > report.json
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
        let plan = try TinyProblem.plan(scratch.path + "/run") { $0.machines.parallel = 2 }
        let fleet = try LocalFleet(worker: worker, configuration: plan.configuration)
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
            _ = try LocalFleet(worker: "/nowhere/deml-worker", parallel: 1)
        }
        #expect(error?.code == .notFound && error?.place == "/nowhere/deml-worker" && error?.hint != nil)
    }
}
