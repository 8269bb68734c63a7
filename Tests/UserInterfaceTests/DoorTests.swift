import Foundation
import Hummingbird
import Testing

@Suite struct DoorTests {
    @Test func theTokenBecomesACookieAndLeavesTheAddress() async throws {
        let page = try Page()
        defer { page.remove() }
        let answer = try await page.ask(.get, "/?token=token", known: false)
        #expect(answer.status == 303)
        #expect(answer.headers[.location] == "/")
        #expect(answer.headers[.setCookie] == "deml_ui_7373=secret; Path=/; HttpOnly; SameSite=Strict")
    }

    @Test(arguments: ["/", "/train", "/api/runs", "/api/runs/a/live", "/api/golem/doctor", "/?token=wrong", "/?token="])
    func nobodyComesInWithoutIt(path: String) async throws {
        let page = try Page()
        defer { page.remove() }
        #expect(try await page.ask(.get, path, known: false).status == 401)
        let other: HTTPFields = [.cookie: "deml_ui_7373=guessed; deml_ui_80=secret"]
        #expect(try await page.ask(.get, path, known: false, headers: other).status == 401)
    }

    @Test(arguments: [
        "evil.example:7373", "127.0.0.1", "127.0.0.1:80", "localhost:73", "192.168.0.1:7373",
        "127.0.0.1.evil.example:7373", "",
        "[::2]:7373",
    ])
    func noOtherNameIsAnswered(host: String) async throws {
        let page = try Page()
        defer { page.remove() }
        for path in ["/", "/api/runs", "/?token=token", "/assets/style.css"] {
            #expect(try await page.ask(.get, path, host: host).status == 421)
        }
    }

    @Test func aPageOfAnotherPlaceMayAskNothing() async throws {
        let page = try Page()
        defer { page.remove() }
        let json: HTTPFields = [.contentType: "application/json"]
        for origin in ["http://evil.example", "null", "http://127.0.0.1:7374", "https://127.0.0.1:7373"] {
            var fields = json
            fields[.origin] = origin
            #expect(try await page.ask(.post, "/api/uploads", headers: fields, body: "{}").status == 403)
            #expect(try await page.ask(.get, "/api/runs", headers: [.origin: origin]).status == 403)
        }
        // With the cookie alone, as an old browser would send it.
        let cookie: HTTPFields = [.cookie: "deml_ui_7373=secret", .contentType: "application/json"]
        #expect(try await page.ask(.post, "/api/uploads", known: false, headers: cookie, body: "{}").status == 403)
        if let site = HTTPFields.Element.Name("Sec-Fetch-Site") {
            #expect(try await page.ask(.get, "/api/runs", headers: [site: "cross-site"]).status == 403)
            #expect(try await page.ask(.get, "/api/runs", headers: [site: "same-origin"]).status == 200)
        }
        // A form cannot send JSON.
        #expect(
            try await page.ask(.post, "/api/runs", headers: [.contentType: "text/plain"], body: "{}").status == 415)
    }

    @Test func everyAnswerForbidsWhatThePageDoesNotNeed() async throws {
        let page = try Page()
        defer { page.remove() }
        for path in ["/", "/assets/app.js", "/api/runs", "/nothing", "/api/nothing"] {
            let answer = try await page.ask(.get, path)
            let policy = answer.headers[.contentSecurityPolicy] ?? ""
            #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self'"))
            #expect(!policy.contains("unsafe"))
            #expect(answer.headers[.xContentTypeOptions] == "nosniff")
        }
        #expect(try await page.ask(.get, "/api/nothing").json["what"] as? String == "there is nothing at this address")
    }

    @Test func assetsAreSentOnce() async throws {
        let page = try Page()
        defer { page.remove() }
        let first = try await page.ask(.get, "/assets/app.js")
        let tag = try #require(first.headers[.eTag])
        #expect(first.status == 200 && first.body.contains("import"))
        let second = try await page.ask(.get, "/assets/app.js", headers: [.ifNoneMatch: tag])
        #expect(second.status == 304 && second.body.isEmpty)
    }
}
