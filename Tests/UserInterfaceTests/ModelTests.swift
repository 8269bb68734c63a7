import Application
import Federation
import Foundation
import Hummingbird
import Tensors
import Testing

/// What the page says of a small finished run, and of its model at work.
@Suite struct ModelTests {
    private func trained() async throws -> Page {
        let page = try Page()
        var text = "height,colour,kind\n"
        for index in 0..<120 {
            text +=
                "\(index % 2 * 3).\(index),\(index % 3 == 0 ? "red" : "green"),\(index % 2 == 0 ? "<b>oak" : "ash")\n"
        }
        try Files.writeAtomically(Array(text.utf8), to: page.folder + "/trees.csv")
        let application = Application(workingFolder: page.folder, executable: "/nowhere/deml", environment: [:])
        let settings = [
            ("data", "trees.csv"), ("label_column", "kind"), ("rounds", "3"), ("local_epochs", "20"),
            ("fleet", "simulated"),
            ("output", "runs/trees"), ("comparison", "false"), ("tensorboard", "false"),
        ]
        _ = try await application.start(TrainRequest(settings: settings)).summary()
        return page
    }

    @Test func aFinishedRun() async throws {
        let page = try await trained()
        defer { page.remove() }
        let card = try #require((try await page.ask(.get, "/api/runs").json["runs"] as? [[String: Any]])?.first)
        #expect(card["run"] as? String == "trees" && card["state"] as? String == "finished")
        #expect(card["rounds"] as? Int == 3 && (card["curve"] as? [[Double]])?.count == 3)
        #expect((card["accuracy"] as? Double ?? 0) > 0.9)
        let details = try await page.ask(.get, "/api/runs/trees").json
        #expect(details["classes"] as? [String] == ["<b>oak", "ash"] && details["hasReport"] as? Bool == true)
        let settings = details["settings"] as? [[String: Any]] ?? []
        #expect(settings.contains { $0["key"] as? String == "local_epochs" && $0["value"] as? String == "20" })
        let report = try await page.ask(.get, "/api/runs/trees/report")
        #expect(report.headers[.contentSecurityPolicy]?.hasSuffix("sandbox") == true)
        #expect(report.body.contains("&lt;b&gt;oak") || !report.body.contains("<b>oak"))
        let model = try await page.ask(.get, "/api/runs/trees/model")
        #expect(model.headers[.contentDisposition] == "attachment; filename=\"trees-best.safetensors\"")
        #expect(try await page.ask(.get, "/api/compare?run=trees").status == 422)
        // Nobody works on it: there is nothing to stop.
        #expect(try await page.json("/api/runs/trees/stop", "{}").status == 404)
        #expect(try await page.json("/api/runs/trees/resume", "{\"rounds\":2}").status == 422)
    }

    @Test func aRow() async throws {
        let page = try await trained()
        defer { page.remove() }
        let inputs = try await page.ask(.get, "/api/models/trees/inputs").json
        #expect(inputs["kind"] as? String == "table" && (inputs["columns"] as? [[String: Any]])?.count == 2)
        let row = try await page.json(
            "/api/models/trees/predict/row", "{\"values\":[[\"height\",\"3.1\"],[\"colour\",\"red\"]]}")
        let first = try #require((row.json["rows"] as? [[String: Any]])?.first)
        #expect(first["predicted"] as? String == "ash" && (first["probability"] as? Double ?? 0) > 0.5)
        let wrong = try await page.json(
            "/api/models/trees/predict/row", "{\"values\":[[\"height\",\"tall\"],[\"colour\",\"red\"]]}")
        #expect(wrong.status == 422 && (wrong.json["where"] as? String)?.contains("uploads") != true)
        // Nothing is left of the questions.
        #expect(try Files.names(in: page.folder + "/runs/.uploads") == [])
    }

    @Test func aFile() async throws {
        let page = try await trained()
        defer { page.remove() }
        let id = try #require(try await page.json("/api/uploads", "{}").json["id"] as? String)
        _ = try await page.ask(
            .put, "/api/uploads/\(id)?name=new.csv", body: "colour,height\nred,3.5\ngreen,0.2\n")
        let answer = try await page.json("/api/models/trees/predict/file", "{\"data\":\"upload:\(id)\"}")
        #expect(answer.json["count"] as? Int == 2, "\(answer.body)")
        let download = try await page.ask(.get, try #require(answer.json["download"] as? String))
        let lines = download.body.split(separator: "\n").map {
            $0.split(separator: ",").prefix(2).joined(separator: ",")
        }
        #expect(lines == ["example,predicted", "0,ash", "1,<b>oak"])
        // The answer lies beside the data and is no part of it.
        let again = try await page.json("/api/models/trees/predict/file", "{\"data\":\"upload:\(id)\"}")
        #expect(again.json["count"] as? Int == 2)
        let none = try await page.json("/api/models/nothing/predict/file", "{\"data\":\"upload:\(id)\"}")
        #expect(none.status == 404)
        let golem = try await page.json(
            "/api/models/trees/predict/elsewhere", "{\"data\":\"upload:\(id)\",\"fleet\":\"golem\",\"budget\":4}")
        #expect(golem.status == 409)
        #expect(try await page.ask(.get, "/api/predictions/\(id)").status == 404)
    }

    @Test func aPrompt() async throws {
        let page = try Page()
        defer { page.remove() }
        let line = "the quick brown fox <b>jumps</b> over the lazy dog.\n"
        try Files.writeAtomically(Array(String(repeating: line, count: 20).utf8), to: page.folder + "/fox.txt")
        let application = Application(workingFolder: page.folder, executable: "/nowhere/deml", environment: [:])
        let settings = [
            ("data", "fox.txt"), ("text", "{block: 8}"), ("rounds", "1"), ("local_epochs", "1"), ("fleet", "simulated"),
            ("output", "runs/fox"), ("comparison", "false"), ("tensorboard", "false"),
        ]
        _ = try await application.start(TrainRequest(settings: settings)).summary()
        let inputs = try await page.ask(.get, "/api/models/fox/inputs").json
        #expect(inputs["kind"] as? String == "text" && inputs["tokens"] as? String == "characters")

        func events(_ wish: String) async throws -> [(name: String, value: [String: Any])] {
            let answer = try await page.json("/api/models/fox/generate", wish)
            #expect(answer.status == 200 && answer.headers[.contentType]?.hasPrefix("text/event-stream") == true)
            return answer.body.components(separatedBy: "\n\n").compactMap { block in
                let parts = block.components(separatedBy: "\ndata: ")
                guard parts.count == 2 else { return nil }
                let value = (try? JSONSerialization.jsonObject(with: Data(parts[1].utf8))) as? [String: Any] ?? [:]
                return (String(parts[0].dropFirst("event: ".count)), value)
            }
        }
        let told = try await events(#"{"prompt":"the quick","tokens":30,"temperature":0.7,"topK":5,"seed":3}"#)
        let text = told.filter { $0.name == "text" }.compactMap { $0.value["text"] as? String }
        let here = try application.generate(
            GenerateRequest(
                model: "runs/fox", prompt: "the quick", tokens: 30, sampling: .init(temperature: 0.7, topK: 5, seed: 3))
        )
        #expect(text.count == 30 && text.joined() == here)
        #expect(told.last?.name == "done" && told.last?.value["characters"] as? Int == 30)
        let next = try await page.json("/api/models/fox/next", #"{"prompt":"the quic"}"#)
        let tokens = next.json["tokens"] as? [[String: Any]] ?? []
        let likeliest = try application.generate(
            GenerateRequest(model: "runs/fox", prompt: "the quic", tokens: 1, sampling: .init(temperature: 0)))
        let shares = tokens.compactMap { $0["probability"] as? Double }
        #expect(tokens.first?["token"] as? String == likeliest && shares.count == 8)
        #expect(shares == shares.sorted(by: >) && shares.reduce(0, +) < 1 && shares[0] > 0)
        #expect(try await page.json("/api/models/fox/next", #"{"prompt":"§"}"#).status == 422)
        let unknown = try await events(#"{"prompt":"the §","tokens":3}"#)
        #expect(unknown.map(\.name) == ["trouble"] && unknown[0].value["where"] as? String == "the prompt")
        for (wish, status) in [
            (#"{"prompt":""}"#, 422), (#"{"prompt":"a","tokens":0}"#, 422), (#"{"prompt":"a","tokens":100000}"#, 422),
            (#"{"prompt":"a","temperature":-1}"#, 422), (#"{"prompt":"a","topK":0}"#, 422), (#"{"tokens":3}"#, 400),
            ("{\"prompt\":\"\(String(repeating: "a", count: 70_000))\"}", 422),
        ] {
            let answer = try await page.json("/api/models/fox/generate", wish)
            #expect(answer.status == status, "\(wish.prefix(60)): \(answer.body)")
        }
        #expect(try await page.json("/api/models/nothing/generate", #"{"prompt":"a"}"#).status == 404)
    }
}
