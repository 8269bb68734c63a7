import Federation
import Foundation
import TensorBoard
import Tensors
import Testing

@Suite struct TensorBoardTests {
    /// What Tests/Reference/make_event_file.py prints.
    static let reference = """
        1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe90d000000000000003c37b834
        0900001040fc54d9413a0208018c8e54cd0a01000000000000a8532f640900006040fc54d94110ac022afb010a140a0d74657374
        2f6163637572616379153a237a3f0a100a09746573742f6c6f737315000000000ad0010ac8016161616161616161616161616161
        61616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161
        61616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161
        61616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161
        616161616161616161616161616161616161616161616161616161616161150000c07f325a7707
        """

    /// The bytes are those of TensorBoard's own writer.
    @Test func bytesOfTensorBoard() {
        let records = [
            EventRecord(wallTime: 1_700_000_000.25, .fileVersion),
            EventRecord(wallTime: 1_700_000_000.25, .sessionStart),
            EventRecord(
                wallTime: 1_700_000_001.5, step: 300,
                .scalars([
                    ("test/accuracy", 0.9771), ("test/loss", 0), (String(repeating: "a", count: 200), .nan),
                ])),
        ]
        let hex = records.flatMap(\.framed).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(hex == Self.reference.filter { !$0.isWhitespace })
    }

    private static func round(_ number: Int) -> RunEvent {
        RunEvent(
            time: Date(timeIntervalSince1970: 1_700_000_000 + Double(number)),
            .roundFinished(RoundMetrics(round: number, loss: 1 / Double(number), accuracy: 0.5, seconds: 1)))
    }

    private static func scratch() throws -> String {
        let path = NSTemporaryDirectory() + "deml-tensorboard-" + UUID().uuidString
        try Files.createDirectory(path)
        return path
    }

    /// A run that is gone on with has one file with everything, under a name behind the older one's.
    @Test func oneFileHoldsTheWholeRun() throws {
        let folder = try Self.scratch()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/tensorboard"
        let first = TensorBoardLog(folder: path)
        try first.handle(Self.round(1))
        let name = try #require(try Files.names(in: path).first)
        #expect(name == "events.out.tfevents.1700000001.deml")
        let size = try #require(Files.size(of: path + "/" + name))
        try first.handle(Self.round(2))
        #expect(try #require(Files.size(of: path + "/" + name)) > size, "events are there while the run goes on")

        try Files.writeAtomically(Array("mine".utf8), to: path + "/notes.txt")
        let second = TensorBoardLog(folder: path)
        for number in 1...3 { try second.handle(Self.round(number)) }
        #expect(try Files.names(in: path).sorted() == ["events.out.tfevents.1700000002.deml", "notes.txt"])
        var alone: [UInt8] = []
        let again = TensorBoardLog(folder: folder + "/other")
        for number in 1...3 { try again.handle(Self.round(number)) }
        alone = try Files.read(folder + "/other/events.out.tfevents.1700000001.deml", maximumBytes: 1 << 20)
        #expect(
            try Files.read(path + "/events.out.tfevents.1700000002.deml", maximumBytes: 1 << 20) == alone,
            "the same events give the same bytes")
    }

    /// A folder that cannot be made is an error of the curves, and said as one.
    @Test func aFolderThatCannotBeMade() throws {
        let folder = try Self.scratch()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Files.writeAtomically(Array("a file".utf8), to: folder + "/tensorboard")
        #expect(throws: DeMLError.self) {
            try TensorBoardLog(folder: folder + "/tensorboard").handle(Self.round(1))
        }
    }
}
