import Federation
import Foundation
import Testing
import UserInterface

/// A run as its page is told of it, made of lines as they stand in a journal.
@Suite struct LiveRunTests {
    private func take(_ run: inout LiveRun, _ event: String, _ values: String) throws {
        let line = "{\"time\":\"2026-03-01T12:00:00.123Z\",\"event\":\"\(event)\",\(values)}"
        run.take(try RunJSON.decode(RunEvent.self, from: Array(line.utf8)))
    }

    private func start(_ run: inout LiveRun, rounds: Int = 2, finished: Int = 0) throws {
        try take(
            &run, "run_started",
            """
            "fleet":"local","workers":2,"clients_per_round":2,"rounds":\(rounds),"finished_rounds":\(finished),"parameters":10,\
            "train_examples":100,"test_examples":10,"accuracy":0.1,"loss":2
            """)
    }

    private static func round(_ number: Int) -> String {
        """
        "round":\(number),"loss":1,"accuracy":0.5,"seconds":1,"evaluation_seconds":0,"bytes_up":1,"bytes_down":2,"clients":2,\
        "answers":2,"failures":0,"examples":100,"weights_sha256":""
        """
    }

    private func json(
        _ run: LiveRun, since change: Int = 0, round: Int = -1, atWork: Bool = true
    ) throws -> [String: Any] {
        let update = RunUpdate(
            run, since: change, restarts: run.restarts, atWork: atWork, catchingUp: false, roundKnown: round)
        return try JSONSerialization.jsonObject(with: Data(RunJSON.encodeLine(update))) as? [String: Any] ?? [:]
    }

    private let attempt =
        "\"round\":1,\"client\":4,\"attempt\":0,\"provider\":{\"id\":\"p\",\"name\":\"<b>evil\\u001b[2J\"}"

    @Test func aReaderIsToldWhatIsNew() throws {
        var run = LiveRun()
        try start(&run)
        try take(&run, "round_started", "\"round\":1,\"rounds\":2,\"clients\":[4,7]")
        let first = try json(run)
        #expect(first["whole"] as? Bool == true && first["order"] as? [Int] == [4, 7])
        #expect((first["clients"] as? [String: [Int]]) == ["4": [0, 0, 0], "7": [0, 0, 0]])
        let known = run.change
        try take(&run, "attempt_started", attempt)
        try take(
            &run, "epoch_finished",
            attempt + ",\"progress\":{\"epoch\":2,\"epochs\":5,\"loss\":0.5,\"samples_per_second\":9}")
        let second = try json(run, since: known)
        #expect(second["whole"] as? Bool == false)
        #expect((second["clients"] as? [String: [Int]]) == ["4": [1, 2, 5]])
        let worker = try #require((second["workers"] as? [[String: Any]])?.first)
        #expect(worker["stage"] as? String == "train" && worker["epoch"] as? Int == 2)
        #expect((worker["name"] as? String)?.contains("\u{1b}") == false)
        try take(&run, "round_finished", Self.round(1))
        #expect((try json(run, since: known, round: 0)["rounds"] as? [[Any]])?.count == 1)
        #expect((try json(run, since: run.change, round: 1)["rounds"] as? [[Any]])?.isEmpty == true)
    }

    @Test func whoeverWasKilledHasStopped() throws {
        var run = LiveRun()
        try start(&run)
        #expect(try json(run, atWork: true)["state"] as? String == "working")
        #expect(try json(run, atWork: false)["state"] as? String == "stopped")
        try take(&run, "run_finished", "\"rounds\":2,\"accuracy\":0.9")
        #expect(try json(run, atWork: false)["state"] as? String == "finished")
    }

    @Test func roundsThatAreTakenBackAreForgotten() throws {
        var run = LiveRun()
        try start(&run, rounds: 3)
        for round in 1...3 { try take(&run, "round_finished", Self.round(round)) }
        let restarts = run.restarts
        try take(&run, "rounds_redone", "\"from\":2,\"through\":3")
        #expect(run.restarts == restarts + 1 && run.rounds.map(\.round) == [1])
        // A killed run that is gone on with has rounds in its journal that were not saved.
        try take(&run, "round_finished", Self.round(2))
        try start(&run, rounds: 3, finished: 1)
        #expect(run.rounds.map(\.round) == [1])
    }

    @Test func theBestRoundIsTheOneThatWasToldLast() throws {
        var run = LiveRun()
        try start(&run, rounds: 3)
        for (round, accuracy) in [(0, 0.1), (1, 0.5), (2, 0.9)] {
            if round > 0 { try take(&run, "round_finished", Self.round(round)) }
            try take(&run, "best_model", "\"round\":\(round),\"accuracy\":\(accuracy),\"loss\":1")
            #expect(try json(run)["best"] as? Int == round)
        }
        try take(&run, "rounds_redone", "\"from\":2,\"through\":2")
        try take(&run, "best_model", "\"round\":1,\"accuracy\":0.5,\"loss\":1")
        #expect(try json(run)["best"] as? Int == 1)
    }

    @Test func roundsThatAreKnownAreNotTakenTwice() throws {
        var run = LiveRun()
        run.seed((1...3).map { RoundMetrics(round: $0, loss: 1, accuracy: 0.5, seconds: 1) })
        try start(&run, rounds: 9)
        for round in 1...4 { try take(&run, "round_finished", Self.round(round)) }
        #expect(run.rounds.map(\.round) == [1, 2, 3, 4])
        run.caughtUp()
        try start(&run, rounds: 9, finished: 2)
        #expect(run.rounds.map(\.round) == [1, 2])
    }

    @Test func aLongRunIsBounded() throws {
        var run = LiveRun()
        try start(&run, rounds: 300)
        let clients = (0..<100).map(String.init).joined(separator: ",")
        for round in 1...300 {
            try take(&run, "round_started", "\"round\":\(round),\"rounds\":300,\"clients\":[\(clients)]")
            for client in 0..<10 {
                try take(
                    &run, "attempt_failed",
                    """
                    "round":\(round),"client":\(client),"attempt":0,"provider":{"id":"\(round)-\(client)","name":"n"},\
                    "failure":"lost","stage":"train","message":"m","next":"retry"
                    """)
            }
            try take(&run, "round_finished", Self.round(round))
        }
        #expect(run.notes.count == LiveRun.mostNotes)
        #expect(run.workers.count == LiveRun.mostWorkers)
        let update = RunUpdate(run, since: 0, restarts: 0, atWork: true, catchingUp: false, roundKnown: -1)
        #expect(try RunJSON.encodeLine(update).count < 400_000)
    }
}
