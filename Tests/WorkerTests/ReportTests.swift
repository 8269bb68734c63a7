import Tensors
import Testing
import Worker

@Suite struct ReportTests {
    @Test func hasTheDocumentedKeys() throws {
        var report = Report(status: .ok, command: "train")
        report.examples = 10
        report.steps = 2
        report.epochs = [Report.Epoch(loss: 0.5, accuracy: 0.75, seconds: 0.25)]
        report.samplesPerSecond = 40
        report.weightsSHA256 = "w"
        report.shardSHA256 = "s"
        report.deltaSHA256 = "d"
        report.threads = 2
        report.isa = "avx2"
        #expect(
            try jsonText(report) == """
                {"command":"train","delta_sha256":"d","epochs":[{"accuracy":0.75,"loss":0.5,"seconds":0.25}],\
                "examples":10,"isa":"avx2","samples_per_second":40,"shard_sha256":"s","status":"ok","steps":2,\
                "threads":2,"version":"\(demlVersion)","weights_sha256":"w"}
                """)
        let error = Report(
            command: "train", stage: Stage("read-shard", file: "/in/shard"),
            error: DeMLError(.truncated, "it ends early", place: "/in/shard: tensor 'x'", hint: "send it again"))
        #expect(
            try jsonText(error) == """
                {"code":"truncated","command":"train","file":"/in/shard","hint":"send it again",\
                "message":"tensor 'x': it ends early","stage":"read-shard","status":"error","version":"\(demlVersion)"}
                """)
    }

    @Test func tellsAKilledWorkerFromOneThatNeverStarted() {
        let running = Report(status: .running, command: "train")
        let killed = Report.explanation(exitCode: 9, report: running)
        let missing = Report.explanation(exitCode: 9, report: nil)
        #expect(killed.contains("out of memory"))
        #expect(missing.contains("never started"))
        let refused = Report(
            command: "train", stage: Stage("read-shard", file: "f"), error: DeMLError(.shape, "does not fit"))
        #expect(Report.explanation(exitCode: 65, report: refused) == "f: does not fit")
        #expect(Report.explanation(exitCode: 0, report: running).contains("no complete report"))
        #expect(Report.explanation(exitCode: 11, report: running).contains("SIGSEGV"))
        #expect(Report.explanation(exitCode: 143, report: running).contains("signal 15"))
    }

    @Test func refusesWhatIsNoReport() throws {
        try withFixture { fixture in
            for text in ["", "[]", "{\"status\":\"fine\",\"command\":\"train\",\"version\":\"1\"}"] {
                try Files.writeAtomically(Array(text.utf8), to: fixture.folder.report)
                let error = #expect(throws: DeMLError.self) { try Report(contentsOf: fixture.folder.report) }
                #expect(error?.code == .malformed)
            }
        }
    }
}

@Suite struct ProgressLinesTests {
    @Test func areWordsAndValues() {
        let lines = ProgressLines()
        #expect(
            lines.line(.epoch(number: 1, of: 5, loss: 0.2931234, accuracy: 0.9123, samplesPerSecond: 41234.4))
                == "epoch 1/5 loss 0.293123 accuracy 0.912300 samples_per_second 41234")
        #expect(
            lines.line(.epoch(number: 5, of: 5, loss: 12.0000004, accuracy: nil, samplesPerSecond: 3))
                == "epoch 5/5 loss 12.000000 samples_per_second 3")
        #expect(lines.line(.delta(sha256: "abc")) == "delta_sha256 abc")
    }

    @Test(arguments: [1, 5, 39, 40, 41, 79, 80, 81, 1000, 1_000_000])
    func fitTheGuestsBuffer(epochs: Int) {
        let lines = ProgressLines()
        var bytes = 0
        var last: Int?
        for number in 1...epochs {
            let progress = TaskProgress.epoch(
                number: number, of: epochs, loss: 123456.789, accuracy: 1, samplesPerSecond: 99_999_999)
            guard let line = lines.line(progress) else { continue }
            bytes += line.utf8.count + 1
            last = number
        }
        bytes += (lines.line(.delta(sha256: String(repeating: "f", count: 64)))?.utf8.count ?? 0) + 1
        #expect(last == epochs)
        #expect(bytes < 4096)
    }
}
