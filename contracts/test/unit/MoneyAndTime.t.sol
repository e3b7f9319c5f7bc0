// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Bond} from "../../src/libraries/Bond.sol";
import {Clock} from "../../src/libraries/Clock.sol";
import {Test} from "../Vm.sol";

/// @title Clocks and money against the vectors that the Rust crate is tested against too
contract MoneyAndTimeTest is Test {
    string private json;
    string private list;
    uint256 private item;

    /// @dev Goes through `name[0]`, `name[1]`, … of the file.
    function open(string memory file, string memory name) private {
        json = vm.readFile(string.concat("test/vectors/", file, ".json"));
        list = name;
        item = type(uint256).max;
        vm.assertTrue(vm.keyExistsJson(json, string.concat(".", name, "[0]")));
    }

    function next() private returns (bool) {
        unchecked {
            item++;
        }
        return vm.keyExistsJson(json, key(""));
    }

    function key(string memory field) private view returns (string memory) {
        return string.concat(".", list, "[", vm.toString(item), "]", bytes(field).length == 0 ? "" : ".", field);
    }

    /// @dev Amounts are strings, times numbers; both parse.
    function number(string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, key(field));
    }

    function flag(string memory field) private view returns (bool) {
        return vm.parseJsonBool(json, key(field));
    }

    function test_clocks() public {
        open("clock", "at");
        while (next()) {
            vm.assertEq(Clock.expired(uint64(number("deadline")), number("now")), flag("expired"));
            vm.assertEq(Clock.stop(uint64(number("deadline")), number("now")), number("stop"), key(""));
        }
        open("clock", "start");
        while (next()) {
            uint64 deadline = Clock.start(uint32(number("left")), uint32(number("extension")), number("now"));
            vm.assertEq(deadline, number("deadline"), key(""));
        }
        open("clock", "longest");
        while (next()) {
            uint64 longest =
                Clock.longest(uint64(number("clock")), uint64(number("extension")), uint64(number("max_turns")));
            vm.assertEq(longest, number("longest"), key(""));
        }
    }

    function test_required() public {
        open("bond", "required");
        while (next()) {
            vm.assertEq(
                Bond.required(number("floor"), number("answer_gas"), number("base_fee")), number("bond"), key("")
            );
        }
    }

    function test_lost() public {
        open("bond", "lost");
        while (next()) {
            (uint256 toWorker, uint256 toChallenger, uint256 burned) =
                Bond.lost(number("bond"), number("worker_cost"), flag("conceded"));
            vm.assertEq(toWorker, number("to_worker"), key(""));
            vm.assertEq(toChallenger, number("to_challenger"), key(""));
            vm.assertEq(burned, number("burned"), key(""));
        }
    }

    function test_struck() public {
        open("bond", "struck");
        while (next()) {
            (uint256 reward, uint256 setAside, uint256 burned, uint256 pool) =
                Bond.struck(number("bond"), number("metered"), number("own"));
            vm.assertEq(pool, number("pool"), key(""));
            vm.assertEq(reward, number("reward"), key(""));
            vm.assertEq(setAside, number("set_aside"), key(""));
            vm.assertEq(burned, number("burned"), key(""));
        }
    }

    function test_split() public {
        open("bond", "split");
        while (next()) {
            (uint256 toWorker, uint256 toPoster, uint256 toPublisher) =
                Bond.split(number("fee"), number("poster_share"), number("publisher_share"));
            vm.assertEq(toWorker, number("to_worker"), key(""));
            vm.assertEq(toPoster, number("to_poster"), key(""));
            vm.assertEq(toPublisher, number("to_publisher"), key(""));
        }
    }

    function testFuzz_refundsNeverExceedWhatIsSetAside(uint96 bond, uint96[4] memory costs) public pure {
        uint256 metered = uint256(costs[0]) + costs[1] + costs[2] + costs[3];
        (uint256 reward, uint256 setAside, uint256 burned, uint256 pool) = Bond.struck(bond, metered, costs[0]);
        vm.assertEq(reward + setAside + burned, bond);
        // Nobody else's moves take what the winner spent.
        uint256 half = bond - burned;
        vm.assertGe(reward, costs[0] < half ? costs[0] : half);
        uint256 refunded;
        for (uint256 i = 1; i < 4; i++) {
            refunded += Bond.refund(pool, metered - costs[0], costs[i]);
        }
        vm.assertLe(refunded, setAside, "refunds");
    }
}
