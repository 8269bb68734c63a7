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

    @Test(
        "runs side by side: the best round is the one of best.safetensors, also where the test set would choose another"
    )
    func comparison() async throws {
        let page = try await trained()
        defer { page.remove() }
        let (trees, other) = (
            RunFolder(path: page.folder + "/runs/trees"), RunFolder(path: page.folder + "/runs/other")
        )
        try FileManager.default.copyItem(atPath: trees.path, toPath: other.path)
        let rounds = [(0.1, 0.2), (0.99, 0.6), (0.5, 0.8), (0.7, 0.8)].enumerated().map { round, accuracies in
            RoundMetrics(
                round: round, loss: 1, accuracy: accuracies.0, seconds: 1, validationLoss: 1,
                validationAccuracy: accuracies.1)
        }
        try Files.writeAtomically(try rounds.flatMap { try RunJSON.encodeLine($0) }, to: other.metrics)
        let rows = try #require(
            try await page.ask(.get, "/api/compare?run=trees&run=other").json["runs"] as? [[String: Any]])
        #expect(rows[0]["bestRound"] as? Int == (try trees.readSummary()).bestRound)
        #expect(rows[1]["bestRound"] as? Int == 2 && rows[1]["bestAccuracy"] as? Double == 0.5)
        // The one whose last model is the best, as deml compare has it.
        #expect(rows.map { $0["isFirst"] as? Bool } == [true, false])
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
        let cost = try await page.json("/api/models/trees/predict/cost", "{\"data\":\"upload:\(id)\"}")
        #expect(cost.json["rows"] as? Int == 2 && cost.json["machines"] as? Int == 1, "\(cost.body)")
        let (likely, worst) = (cost.json["likely"] as? Double ?? 0, cost.json["worst"] as? Double ?? 0)
        #expect(likely > 0 && likely < worst && (cost.json["seconds"] as? Double ?? 0) >= 30)
        #expect(try await page.json("/api/models/nothing/predict/cost", "{\"data\":\"upload:\(id)\"}").status == 404)
        #expect(try await page.ask(.get, "/api/predictions/\(id)").status == 404)
    }

    @Test func predictionsComeInEveryFormat() async throws {
        let page = try await trained()
        defer { page.remove() }
        let application = Application(workingFolder: page.folder, executable: "/nowhere/deml", environment: [:])
        let id = try await page.upload([("new.csv", Array("colour,height,kind\nred,3.5,ash\ngreen,0.2,ash\n".utf8))])
        let answered = try await page.json("/api/models/trees/predict/file", "{\"data\":\"\(id)\"}")
        let download = try #require(answered.json["download"] as? String, "\(answered.body)")
        let file = "runs/.uploads/\(id.dropFirst("upload:".count))/new.csv"
        for (format, contents, top) in [
            ("csv", "all", 3), ("npz", "all", 3), ("safetensors", "all", 3), ("jsonl", "all", 3), ("csv", "top", 1),
            ("csv", "classes", 3), ("npz", "top", 2), ("safetensors", "classes", 3), ("jsonl", "top", 9),
        ] {
            let answer = try await page.ask(.get, "\(download)?as=\(format)&contents=\(contents)&top=\(top)")
            var request = PredictRequest(
                model: "runs/trees", data: DataRequest(data: file), part: .all, count: 0, output: "here." + format)
            request.writing.contents = try #require(PredictionContents(rawValue: contents))
            request.writing.top = top
            _ = try application.predict(request)
            let here = String(
                decoding: try Files.read(page.folder + "/here." + format, maximumBytes: 1 << 20), as: UTF8.self)
            #expect(answer.status == 200 && answer.body == here, "\(format), \(contents)")
            #expect(answer.headers[.contentDisposition] == "attachment; filename=\"predictions.\(format)\"")
        }
        for wrong in ["as=xlsx", "contents=some", "top=none", "contents=top&top=0"] {
            #expect(try await page.ask(.get, "\(download)?\(wrong)").status == 422, "\(wrong)")
        }
        // What was made to be sent is gone.
        #expect(try Files.names(in: page.folder + "/runs/.uploads").count == 1)
        let none = try await page.upload([("new.csv", Array("a\n".utf8))]).dropFirst("upload:".count)
        #expect(try await page.ask(.get, "/api/uploads/\(none)/predictions").status == 404)
    }

    @Test func aTextIsClassified() async throws {
        let page = try Page()
        defer { page.remove() }
        // Of ten bytes: are there more of "a" or of "z"?
        var (x, y): ([UInt8], [UInt8]) = ([], [])
        for index in 0..<80 {
            let isA = index % 2 == 0
            x += (0..<10).map { ($0 + index) % 5 == 0 ? UInt8(ascii: "e") : UInt8(ascii: isA ? "a" : "z") }
            y.append(isA ? 0 : 1)
        }
        let data = Safetensors(
            tensors: [("x", Tensor(shape: [80, 10], bytes: x)), ("y", Tensor(shape: [80], bytes: y))], metadata: [:])
        try Files.writeAtomically(data.encoded(), to: page.folder + "/letters.safetensors")
        let model = """
            input: {shape: [10], tokens: 128}
            layers:
              - {type: embedding, embedding_dim: 8}
              - {type: gru, hidden_size: 8, output: last}
              - {type: linear, out_features: 2}
            loss: cross_entropy
            """
        try Files.writeAtomically(Array(model.utf8), to: page.folder + "/letters.yaml")
        let application = Application(workingFolder: page.folder, executable: "/nowhere/deml", environment: [:])
        let settings = [
            ("data", "letters.safetensors"), ("model", "letters.yaml"), ("rounds", "2"), ("local_epochs", "20"),
            ("learning_rate", "0.01"), ("workers", "1"), ("fleet", "simulated"), ("output", "runs/letters"),
            ("comparison", "false"), ("tensorboard", "false"),
        ]
        _ = try await application.start(TrainRequest(settings: settings)).summary()
        let inputs = try await page.ask(.get, "/api/models/letters/inputs").json
        #expect(inputs["kind"] as? String == "tokens" && inputs["tokens"] as? String == "numbers", "\(inputs)")
        #expect(inputs["tokenCount"] as? Int == 128)

        func first(_ answer: Page.Answer) -> [String: Any]? { (answer.json["rows"] as? [[String: Any]])?.first }
        func ask(_ wish: String) async throws -> (status: Int, predicted: String?, note: String?, body: String) {
            let answer = try await page.json("/api/models/letters/predict/text", wish)
            let notes = answer.json["notes"] as? [[String]] ?? []
            return (answer.status, first(answer)?["predicted"] as? String, notes.first?.last, answer.body)
        }
        let whole = try await ask(#"{"text":"zzzezzzzez","bytes":true}"#)
        #expect(whole.predicted == "1" && whole.note == "10 tokens, as the model takes", "\(whole.body)")
        #expect(try await ask(#"{"text":"97 97, 97 101\n97 97 97 97 101 97"}"#).predicted == "0")
        let short = try await ask(#"{"text":"zzzzzzz","bytes":true,"filled":"front"}"#)
        #expect(short.note == "7 tokens; the model takes 10: token 0 fills the rest, at the front", "\(short.body)")
        let long = try await ask(#"{"text":"aaaaaaaaaazz","bytes":true}"#)
        #expect(long.predicted == "0" && long.note == "12 tokens; the model takes 10: 2 at the end are left out")

        // The same row from a file.
        let row = Tensor(shape: [1, 10], bytes: [0, 0, 0] + Array("zzzzzzz".utf8))
        let id = try await page.upload([
            ("row.safetensors", Safetensors(tensors: [("x", row)], metadata: [:]).encoded())
        ])
        let read = try await page.json("/api/models/letters/predict/file", "{\"data\":\"\(id)\"}")
        let typed = try await page.json(
            "/api/models/letters/predict/text", #"{"text":"zzzzzzz","bytes":true,"filled":"front"}"#)
        let probability = first(read)?["probability"] as? Double
        #expect(probability != nil && probability == first(typed)?["probability"] as? Double, "\(read.body)")

        for (wish, words) in [
            (#"{"text":""}"#, "there is no text"), (#"{"text":"128"}"#, "none that the model knows"),
            (#"{"text":"97 b"}"#, "none that the model knows"), (#"{"text":"é","bytes":true}"#, "the token 195"),
            (#"{"text":"97","filled":"above"}"#, "in front or behind"), (#"{"text":"97","blanks":true}"#, "no blank"),
            ("{\"text\":\"\(String(repeating: "9 ", count: 40_000))\"}", "too long"),
        ] {
            let answer = try await ask(wish)
            #expect(answer.status == 422 && answer.body.contains(words), "\(wish.prefix(60)): \(answer.body)")
        }
        let trees = try await trained()
        defer { trees.remove() }
        #expect(try await trees.json("/api/models/trees/predict/text", #"{"text":"a"}"#).status == 422)
    }

    /// A file of Tests/ModelFormatsTests.
    private func fixture(_ name: String) throws -> (name: String, bytes: [UInt8]) {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return (name, try Files.read(tests.path + "/ModelFormatsTests/Fixtures/" + name, maximumBytes: 1 << 20))
    }

    @Test(arguments: ["mlp.pt2", "mlp.onnx", "mlp.script.onnx", "keras_cnn.keras", "keras_cnn.h5"])
    func modelsOfEveryTool(name: String) async throws {
        let page = try Page()
        defer { page.remove() }
        let model = try await page.upload([try fixture(name)])
        let inputs = try await page.ask(.get, "/api/models/\(model)/inputs")
        #expect(inputs.status == 200, "\(inputs.body)")
        let read = try await page.json("/api/models/read", "{\"model\":\"\(model)\"}")
        #expect(read.json["weights"] as? String == model && read.json["model"] is [String: Any], "\(read.body)")
        let stem = name.split(separator: ".")[0]
        for (format, ending) in [
            ("onnx", "onnx"), ("keras", "keras"), ("state_dict", "safetensors"), ("module", "py"),
            ("deml", "safetensors"),
        ] {
            let answer = try await page.ask(.get, "/api/models/\(model)/export?as=\(format)")
            #expect(answer.status == 200 && answer.body.utf8.count > 100, "\(format): \(answer.body.prefix(300))")
            #expect(answer.headers[.contentDisposition] == "attachment; filename=\"\(stem).\(ending)\"")
        }
        #expect(try await page.ask(.get, "/api/models/\(model)/export?as=caffe").status == 422)
        #expect(try Files.names(in: page.folder + "/runs/.uploads").count == 1)
    }

    @Test func weightsAloneAndADescription() async throws {
        let page = try Page()
        defer { page.remove() }
        let weights = try fixture("mlp.pth")
        let description = """
            {"input":{"shape":[3,2,2]},"loss":"cross_entropy","layers":[{"type":"flatten"},\
            {"type":"linear","out_features":8},{"type":"relu"},{"type":"linear","out_features":3}]}
            """
        let alone = try await page.upload([weights])
        let read = try await page.json("/api/models/read", "{\"model\":\"\(alone)\"}")
        #expect(read.json["weights"] as? String == alone && read.json["model"] == nil, "\(read.body)")
        func match(_ model: String) async throws -> Page.Answer {
            try await page.json("/api/models/match", "{\"weights\":\"\(alone)\",\"model\":\(model)}")
        }
        let fits = try await match(description)
        #expect((fits.json["summary"] as? String)?.contains("all 4 tensors by their names") == true, "\(fits.body)")
        #expect(try await match(description.replacing("\"out_features\":8", with: "\"out_features\":9")).status == 422)
        let refused = try await page.ask(.get, "/api/models/\(alone)/inputs")
        #expect(refused.status == 422 && refused.body.contains("says nothing of the layers"), "\(refused.body)")
        let both = try await page.upload([weights, ("mlp.json", Array(description.utf8))])
        let inputs = try await page.ask(.get, "/api/models/\(both)/inputs")
        #expect(inputs.json["shape"] as? [Int] == [3, 2, 2], "\(inputs.body)")
        // The same model as in the file that has both.
        let onnx = try await page.upload([try fixture("mlp.onnx")])
        let one = try await page.ask(.get, "/api/models/\(both)/export?as=state_dict").body
        #expect(try await page.ask(.get, "/api/models/\(onnx)/export?as=state_dict").body == one)
        let several = try await page.upload([weights, ("a.txt", [65]), ("b.txt", [66])])
        #expect(try await page.ask(.get, "/api/models/\(several)/inputs").status == 422)
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
