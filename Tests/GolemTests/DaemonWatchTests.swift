import Foundation
import Golem
import NIOCore
import Testing

@Suite("Whether our own daemon is there")
struct DaemonWatchTests {
    private let start = ContinuousClock.now
    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    @Test("time is counted from the first call that was not answered to the next that was")
    func outage() {
        let watch = DaemonWatch()
        watch.answered(at: at(1))
        #expect(watch.awayFor(at: at(2)) == nil && watch.total(at: at(2)) == .zero)
        watch.missed(waited: .zero, because: "", at: at(10))
        watch.missed(waited: .zero, because: "", at: at(20))
        #expect(watch.awayFor(at: at(30)) == .seconds(20) && watch.total(at: at(30)) == .seconds(20))
        watch.answered(at: at(35))
        #expect(watch.awayFor(at: at(40)) == nil && watch.total(at: at(40)) == .seconds(25))
        #expect(watch.wasAway(within: .seconds(10), at: at(40)) && !watch.wasAway(within: .seconds(10), at: at(50)))
    }

    @Test("a daemon that hangs is away since it was asked, but not before it last answered")
    func hanging() {
        let watch = DaemonWatch()
        watch.answered(at: at(10))
        watch.missed(waited: .seconds(25), because: "", at: at(30))
        #expect(watch.awayFor(at: at(30)) == .seconds(20))
        watch.answered(at: at(40))
        watch.missed(waited: .seconds(5), because: "", at: at(50))
        #expect(watch.total(at: at(50)) == .seconds(35))
    }

    @Test("of time in which answers are slow only a part is the providers', and none is counted twice")
    func slowness() {
        let watch = DaemonWatch()
        watch.answered(at: at(0))
        watch.measured(delay: .seconds(9), at: at(0))
        #expect(watch.timeNotTheirs(at: at(0)) == .zero, "nothing is known of the time before")
        watch.measured(delay: .milliseconds(200), at: at(10))
        #expect(watch.timeNotTheirs(at: at(10)) == .zero, "prompt")
        watch.measured(delay: .seconds(1), at: at(14))
        #expect(watch.timeNotTheirs(at: at(14)) == .seconds(3) && watch.delay == .seconds(1))
        watch.measured(delay: .milliseconds(500), at: at(16))
        #expect(watch.timeNotTheirs(at: at(16)) == .seconds(4) && watch.total(at: at(16)) == .zero)
        // Away from 16 to 26, then slow until 30.
        watch.answered(at: at(16))
        watch.missed(waited: .zero, because: "", at: at(16))
        #expect(watch.timeNotTheirs(at: at(20)) == .seconds(8))
        watch.answered(at: at(26))
        watch.measured(delay: .seconds(1), at: at(30))
        #expect(watch.timeNotTheirs(at: at(30)) == .seconds(4 + 10 + 3))
    }

    @Test("machines that move files at the same time share it; those that move nothing do not, while nothing moves")
    func sharedTransfers() {
        let watch = DaemonWatch()
        watch.measured(delay: .zero, at: at(0))
        for _ in 0..<4 { watch.transferring(1) }
        for _ in 0..<100 { watch.movedPiece() }
        watch.measured(delay: .zero, at: at(1))
        #expect(watch.timeNotTheirs(ofTransfers: true, at: at(1)) == .milliseconds(750))
        #expect(watch.timeNotTheirs(at: at(1)) == .zero, "of those that compute all of it")
        // Two pieces: two of the four at most.
        for _ in 0..<2 { watch.movedPiece() }
        watch.measured(delay: .zero, at: at(2))
        #expect(watch.timeNotTheirs(ofTransfers: true, at: at(2)) == .milliseconds(1250))
        watch.measured(delay: .zero, at: at(12))
        #expect(watch.timeNotTheirs(ofTransfers: true, at: at(12)) == .milliseconds(1250), "all four hang")
        // Three are over; the daemon is slow besides.
        for _ in 0..<3 { watch.transferring(-1) }
        watch.measured(delay: .zero, at: at(13))
        watch.movedPiece()
        watch.measured(delay: .milliseconds(500), at: at(15))
        #expect(watch.timeNotTheirs(ofTransfers: true, at: at(15)) == .milliseconds(2250))
        #expect(watch.timeNotTheirs(at: at(15)) == .seconds(1))
    }

    @Test("what this machine lacks itself is told as that")
    func ownShortage() throws {
        let client = try GolemClient(url: "http://127.0.0.1:1", appKey: "key")
        let error = client.unreachable("GET /me", IOError(errnoCode: EMFILE, reason: "socket"))
        #expect(error.isOurDaemons && error.message.contains("no file descriptors"))
        let other = client.unreachable("GET /me", IOError(errnoCode: ECONNREFUSED, reason: "connect"))
        #expect(other.isOurDaemons && other.message == "the daemon cannot be reached")
    }

    @Test("a clock that is set back is noticed once; one that runs, is set forward, or tells whole seconds is not")
    func clock() throws {
        let watch = DaemonWatch()
        let time = try #require(Timestamp(httpDate: "Mon, 30 Nov 2026 13:15:57 GMT"))
        #expect(time == Timestamp("2026-11-30T13:15:57Z") && Timestamp(httpDate: "yesterday") == nil)
        watch.told(time, at: at(0))
        watch.told(time + .seconds(10), at: at(10.9))
        watch.told(time + .seconds(700), at: at(20))
        watch.told(nil, at: at(21))
        #expect(watch.setBack.count == 0)
        watch.told(time + .seconds(100), at: at(30))
        watch.told(time + .seconds(110), at: at(40))
        #expect(watch.setBack.count == 1 && watch.setBack.since == time + .seconds(40))
        // An answer that was overtaken says nothing.
        watch.told(time, at: at(39))
        #expect(watch.setBack.count == 1)
    }

    @Test("after the clock was set back, events from before do not hide what comes, and count once")
    func eventsFromBefore() {
        let watch = DaemonWatch()
        let time = Timestamp.now()
        watch.told(time, at: .now - .seconds(2))
        var events = EventTime(time)
        events.seen(time + .seconds(5), by: watch)
        #expect(events.next(by: watch) == time + .seconds(5))
        watch.told(time + .seconds(-600), at: .now)
        #expect(events.next(by: watch) == time + .seconds(-660))
        #expect(!events.isNew(time + .seconds(5), by: watch), "seen by the old clock")
        // On its way when the clock was set.
        #expect(events.isNew(time + .seconds(6), by: watch))
        events.seen(time + .seconds(6), by: watch)
        #expect(!events.isNew(time + .seconds(6), by: watch))
        #expect(events.isNew(time + .seconds(-599), by: watch))
        events.seen(time + .seconds(-599), by: watch)
        #expect(events.next(by: watch) == time + .seconds(-599))
    }

    @Test("a connection that breaks and is there again at once is no outage")
    func hiccup() {
        let watch = DaemonWatch()
        watch.missed(waited: .zero, because: "", at: at(10))
        #expect(!watch.wasAway(within: .seconds(60), at: at(11)))
        watch.answered(at: at(11))
        #expect(!watch.wasAway(within: .seconds(60), at: at(12)))
        watch.missed(waited: .zero, because: "", at: at(20))
        #expect(watch.wasAway(within: .zero, at: at(23)))
    }
}
