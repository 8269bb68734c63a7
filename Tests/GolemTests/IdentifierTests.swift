import Golem
import Testing

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// `"g\(number)"` as an id: in tests alone, as an id of somebody else must be checked.
extension Identifier: ExpressibleByStringInterpolation {}

@Suite struct IdentifierTests {
    @Test(arguments: [
        "0x" + String(repeating: "a1", count: 20), "R-05bcf8d9" + String(repeating: "f", count: 100),
        "1c0c3bd6-6a4f-4e0c-8d8e-1f0a6ad2f6f3", "a", "a.b_c~d", "...",
    ])
    func whatDaemonsGiveIsAnID(_ text: String) throws {
        let id = try #require(AgreementID(text))
        #expect(id.rawValue == text && "\(id)" == text)
        #expect(try JSONDecoder().decode([AgreementID].self, from: JSONEncoder().encode([id])) == [id])
    }

    @Test(arguments: [
        "", ".", "..", "../../me", "a/b", "a?b", "a b", "a\n", "a\u{1b}[2J", "é", "a%2f", "a#b", "\u{202e}a",
        String(repeating: "a", count: 129),
    ])
    func whatWouldLeadElsewhereOrBeObeyedIsNone(_ text: String) throws {
        #expect(AgreementID(text) == nil)
        let json = try JSONEncoder().encode([text])
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([AgreementID].self, from: json) }
        for event in ["proposalId", "issuerId"] {
            var fields: [String: JSON] = ["proposalId": "p", "issuerId": "n", "state": "Initial"]
            fields[event] = .string(text)
            let error = #expect(throws: GolemError.self) { try Proposal(.object(fields)) }
            #expect(error?.code == .malformed && error?.message.contains(event) == true)
        }
        #expect(LedgerEntry(["entry": "allocationReleased", "allocation": .string(text)]) == nil)
    }

    @Test func aBillIsReadThoughItDoesNotSayWhoseItIs() throws {
        let note = try DebitNote([
            "debitNoteId": "n", "agreementId": "g", "activityId": "a", "totalAmountDue": "1", "status": "RECEIVED",
            "issuerId": "",
        ])
        #expect(note.issuerID == nil)
    }

    @Test func aBillIsANoteOrAnInvoice() {
        let note: DebitNoteID = "same"
        let invoice: InvoiceID = "same"
        #expect(BillID(note) == BillID(invoice))
        #expect(([InvoiceID]() + ["b", "a"]).sorted() == ["a", "b"])
    }
}
