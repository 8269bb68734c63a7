import ForeignText
import Golem
import Testing

/// Whatever text stands in an answer of the daemon, nothing that is made of it can steer a terminal.
@Suite("Text of strangers")
struct ForeignAnswerTests {
    /// Answers of each kind as they were recorded, with a reader that makes what is shown of them.
    private static let answers: [(name: String, json: String, read: @Sendable (JSON) throws -> Any)] = [
        (
            "identity", #"{"identity":"0xf7ac","name":"autoconfigured","role":"manager"}"#, { try Identity($0) }
        ),
        ("version", #"{"current":{"version":"0.17.6"},"pending":{"version":"0.18"}}"#, { try DaemonVersion($0) }),
        (
            "allocation",
            #"{"allocationId":"e165","address":"0xf7","paymentPlatform":"erc20-hoodi-tglm","totalAmount":"1","timeout":"2026-11-23T20:16:59.925978Z"}"#,
            { try Allocation($0) }
        ),
        (
            "decorations",
            #"{"properties":[{"key":"golem.com.payment.protocol.version","value":"3"}],"constraints":["(golem.com.payment.protocol.version>1)"]}"#,
            { try Decorations($0) }
        ),
        (
            "account",
            #"{"platform":"erc20-hoodi-tglm","address":"0x1","driver":"erc20","network":"hoodi","token":"tGLM"}"#,
            { try PaymentAccount($0) }
        ),
        (
            "proposal",
            #"{"eventType":"ProposalEvent","eventDate":"2026-11-23T19:17:01.504Z","proposal":{"properties":{"golem.node.id.name":"lab","golem.node.debug.subnet":"s","golem.runtime.name":"vm","golem.runtime.version":"0.5","golem.inf.cpu.brand":"AMD","golem.inf.cpu.architecture":"x86_64","golem.inf.cpu.capabilities":["avx"],"golem.com.payment.platform.erc20-hoodi-tglm.address":"0x1","golem.activity.caps.transfer.protocol":["gftp"]},"constraints":"()","proposalId":"R-05","issuerId":"0x3f","state":"Initial"}}"#,
            { try DemandEvent($0) }
        ),
        (
            "rejected",
            #"{"eventType":"ProposalRejectedEvent","proposalId":"R-32","reason":{"message":"No capacity","golem.proposal.rejection.is-final":false}}"#,
            { try DemandEvent($0) }
        ),
        ("other event", #"{"eventType":"Unheard"}"#, { try DemandEvent($0) }),
        (
            "agreement",
            #"{"agreementId":"414a","demand":{"properties":{"a":"b"}},"offer":{"properties":{"golem.node.id.name":"lab"},"providerId":"0x3f"},"state":"Approved","appSessionId":"smoke"}"#,
            { try Agreement($0) }
        ),
        (
            "agreement event",
            #"{"eventDate":"2026-11-23T19:17:01Z","agreementId":"0ec7","eventType":"AgreementTerminatedEvent","terminator":"Provider","reason":{"message":"not in time (5s)","golem.provider.code":"DebitNotesDeadline"}}"#,
            { try AgreementEvent($0) }
        ),
        (
            "scanned offer", #"{"offerId":"o","providerId":"0x3f","properties":{"golem.node.id.name":"lab"}}"#,
            { try ScannedOffer($0) }
        ),
        (
            "result",
            #"{"index":0,"result":"Error","stdout":"bad\n","stderr":"worse","message":"exited with code 3","isBatchFinished":true}"#,
            { try CommandResult($0) }
        ),
        (
            "state", #"{"state":["Terminated","Other"],"reason":"exe-unit exited","errorMessage":"exit code 1"}"#,
            { try ActivityState($0) }
        ),
        ("event", #"{"batch_id":"af39","index":0,"kind":{"stdout":"line 1\n"}}"#, { try RuntimeEvent($0) }),
        ("stderr", #"{"batch_id":"af39","index":0,"kind":{"stderr":"line 1\n"}}"#, { try RuntimeEvent($0) }),
        (
            "finished", #"{"batch_id":"a","index":0,"kind":{"finished":{"return_code":1,"message":"m"}}}"#,
            { try RuntimeEvent($0) }
        ),
        ("unheard", #"{"batch_id":"a","index":0,"kind":{"unheard":"x"}}"#, { try RuntimeEvent($0) }),
        (
            "note",
            #"{"debitNoteId":"d","agreementId":"a","activityId":"c","issuerId":"0x3f","paymentPlatform":"p","totalAmountDue":"1","status":"RECEIVED"}"#,
            { try DebitNote($0) }
        ),
        (
            "invoice",
            #"{"invoiceId":"i","agreementId":"a","activityIds":["c"],"issuerId":"0x3f","paymentPlatform":"p","amount":"1","status":"RECEIVED"}"#,
            { try Invoice($0) }
        ),
        (
            "payment event",
            #"{"eventType":"InvoiceReceivedEvent","invoiceId":"i","eventDate":"2026-11-23T19:17:01Z"}"#,
            { try PaymentEvent($0) }
        ),
        (
            "payment",
            #"{"paymentId":"p","payeeId":"0x3f","amount":"1","agreementPayments":[{"agreementId":"a","amount":"1"}],"details":"aGk="}"#,
            { try Payment($0) }
        ),
    ]

    static let hostile = [
        "\u{1B}[2J\u{1B}[31m", "\u{1B}]0;title\u{7}", "\u{9B}31m", "\u{202E}", "\u{200B}", "\u{2028}", "\r", "\u{0}",
    ]

    /// Every text of a value in turn, with something hostile behind it.
    private func poisoned(_ json: JSON, with text: String) -> [JSON] {
        switch json {
        case .null, .bool, .number: []
        case .string(let old): [.string(old + text), .string(text + old)]
        case .array(let values):
            values.indices.flatMap { index in
                poisoned(values[index], with: text).map { changed in
                    var all = values
                    all[index] = changed
                    return JSON.array(all)
                }
            }
        case .object(let fields):
            fields.sorted { $0.key < $1.key }.flatMap { key, value in
                poisoned(value, with: text).map { JSON.object(fields.merging([key: $0]) { $1 }) }
                    + [JSON.object(fields.filter { $0.key != key }.merging([key + text: value]) { $1 })]
            }
        }
    }

    @Test("no field of an answer brings what steers a terminal into a model or an error", arguments: answers.indices)
    func everyField(index: Int) throws {
        let (name, text, read) = Self.answers[index]
        let clean = try #require(JSON(answer: text.utf8))
        _ = try read(clean)
        var count = 0
        for hostile in Self.hostile {
            for changed in poisoned(clean, with: hostile) {
                var bytes: [UInt8] = []
                changed.write(to: &bytes)
                let answer = try #require(JSON(answer: bytes), "\(name)")
                var shown = ""
                do {
                    dump(try read(answer), to: &shown)
                } catch {
                    // A key or a constant word that was changed: the error shows what came.
                    shown = "\(error)"
                }
                let harmful = shown.unicodeScalars.filter { ForeignText.isHarmful($0) && $0 != "\n" }
                #expect(harmful.isEmpty, "\(name): \(ForeignText.quoted(shown, limit: 2000))")
                count += 1
            }
        }
        #expect(count > 10, "\(name) has no text")
    }

    @Test("bytes of a binary capture are text of strangers, too")
    func binaryCapture() throws {
        let result = try CommandResult([
            "index": 0, "result": "Ok", "stdout": [0x61, 0x1B, 0x5B, 0x32, 0x4A, 0x0A, 0xFF],
        ])
        #expect(result.stdout == "a\u{FFFD}\n\u{FFFD}")
    }

    @Test("names and reasons are one line of bounded length")
    func oneLine() throws {
        let long = String(repeating: "n", count: 10_000)
        let offer = Offer(properties: ["golem.node.id.name": .string("a\nb" + long)])
        #expect(offer.nodeName.hasPrefix("a b") && offer.nodeName.count == 101)
        let event = try AgreementEvent([
            "agreementId": "a", "eventDate": "2026-11-23T19:17:01Z", "eventType": "AgreementTerminatedEvent",
            "reason": ["message": .string("gone\n\u{1B}[1A" + long)],
        ])
        #expect(event.reason.hasPrefix("gone \u{FFFD}n") && event.reason.count == 501)
    }

    @Test("an answer that is no JSON, or an error, reaches messages harmless")
    func errors() async throws {
        let hostile = "<h1>\u{1B}[31mno\u{1B}]0;x\u{7}\r\n" + String(repeating: "x", count: 1000)
        let replies = [
            ScriptedReply.answer(200, hostile), .answer(500, hostile), .answer(400, "{\"message\":\"\\u001b[2J\\nx\"}"),
        ]
        for reply in replies {
            try await ScriptedServer.with { _ in
                reply
            } _: { client, _ in
                let error = await #expect(throws: GolemError.self) { try await client.me() }
                let text = "\(try #require(error))"
                #expect(
                    text.unicodeScalars.allSatisfy { !ForeignText.isHarmful($0) || $0 == "\n" },
                    "\(ForeignText.quoted(text, limit: 2000))")
                #expect(text.count < 3000)
            }
        }
    }
}
