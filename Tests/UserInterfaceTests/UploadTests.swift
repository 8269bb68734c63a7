import Foundation
import Tensors
import Testing

/// How long an upload is kept.
@Suite struct UploadTests {
    private func upload(_ page: Page, _ name: String = "trees.csv") async throws -> String {
        let id = try #require(try await page.json("/api/uploads", "{}").json["id"] as? String)
        #expect(try await page.ask(.put, "/api/uploads/\(id)?name=\(name)", body: "a,label\n1,x\n").status == 200)
        return id
    }

    private func exists(_ page: Page, _ id: String) -> Bool { Files.exists(page.folder + "/runs/.uploads/" + id) }

    private func write(_ page: Page, _ path: String, _ text: String) throws {
        let path = page.folder + "/" + path
        try Files.createDirectory(try #require(Files.parent(of: path)))
        try Files.writeAtomically(Array(text.utf8), to: path)
    }

    @Test func whatNobodyUsesGoesAfterAWeek() async throws {
        let page = try Page()
        defer { page.remove() }
        #expect(try page.sweep(afterDays: 100) == [])
        let id = try await upload(page)
        let empty = try #require(try await page.json("/api/uploads", "{}").json["id"] as? String)
        try write(page, "runs/.uploads/.removed-0123456789abcdef/a.csv", "1")
        #expect(try page.sweep(afterDays: 6.9) == [])
        #expect(exists(page, id) && exists(page, empty) && !exists(page, ".removed-0123456789abcdef"))
        #expect(try page.sweep(afterDays: 7.1) == [id, empty])
        #expect(try Files.names(in: page.folder + "/runs/.uploads") == [])
        let answer = try await page.json("/api/data/look", "{\"data\":\"upload:\(id)\"}")
        #expect(answer.status == 404 && (answer.json["hint"] as? String)?.contains("once more") == true)
    }

    @Test func whatIsUsedStays() async throws {
        let page = try Page()
        defer { page.remove() }
        let (used, unused) = (try await upload(page), try await upload(page))
        let old = Date().addingTimeInterval(-30 * 86_400)
        for id in [used, unused] {
            for path in ["/trees.csv", ""] {
                try FileManager.default.setAttributes(
                    [.modificationDate: old], ofItemAtPath: page.folder + "/runs/.uploads/" + id + path)
            }
        }
        _ = try await page.json("/api/data/look", "{\"data\":\"upload:\(used)\"}")
        #expect(try page.sweep(afterDays: 0) == [unused])
    }

    @Test(arguments: [
        ("config.json", #"{"data":{"path":"/x/runs\/.uploads\/ID\/trees.csv"}}"#),
        ("config.json", #"{"initial_weights":"/x/runs/.uploads/ID/m.safetensors"}"#),
        ("request.yaml", "data: /x/runs/.uploads/ID/trees.csv\n"),
        ("data.json", #"{"path":"../.uploads/ID"}"#),
    ])
    func whatARunNamesStaysAsLongAsTheRun(file: String, text: String) async throws {
        let page = try Page()
        defer { page.remove() }
        let (named, other) = (try await upload(page), try await upload(page))
        try write(page, "runs/mine/" + file, text.replacing("ID", with: named))
        #expect(try page.sweep(afterDays: 400) == [other])
        try FileManager.default.removeItem(atPath: page.folder + "/runs/mine")
        #expect(try page.sweep(afterDays: 400) == [named])
    }

    @Test func whatIsHalfPredictedStaysAMonthWithItsModel() async throws {
        let page = try Page()
        defer { page.remove() }
        let (data, model) = (try await upload(page), try await upload(page, "m.safetensors"))
        try write(
            page, "runs/.uploads/\(data)/.predictions.safetensors.work/question.json",
            "{\"model\":\"runs/.uploads/\(model)/m.safetensors\"}")
        #expect(try page.sweep(afterDays: 29) == [])
        #expect(try page.sweep(afterDays: 31) == [data])
        #expect(try page.sweep(afterDays: 31) == [model])
    }

    @Test func whereARunCannotBeReadNothingGoes() async throws {
        let page = try Page()
        defer { page.remove() }
        let id = try await upload(page)
        try Files.createDirectory(page.folder + "/runs/torn/config.json")
        #expect(throws: DeMLError.self) { try page.sweep(afterDays: 400) }
        #expect(exists(page, id))
    }

    @Test func whatIsNoUploadIsLeftAlone() async throws {
        let page = try Page()
        defer { page.remove() }
        try write(page, "elsewhere/kept.csv", "1")
        for name in ["notes", "0123456789ABCDEF", "0123456789abcde"] {
            try write(page, "runs/.uploads/\(name)/kept.csv", "1")
        }
        try write(page, "runs/.uploads/fedcba9876543210", "a file")
        try FileManager.default.createSymbolicLink(
            atPath: page.folder + "/runs/.uploads/0123456789abcdef", withDestinationPath: page.folder + "/elsewhere")
        #expect(try page.sweep(afterDays: 400) == [])
        #expect(try Files.names(in: page.folder + "/runs/.uploads").count == 5)
        #expect(Files.exists(page.folder + "/elsewhere/kept.csv"))
    }
}
