#!/usr/bin/env escript
%%! +P 1000000
%% OTP: `supervisor` with gen_server children, measured inside the BEAM. One case a run, as the Python contenders:
%%     escript otp_bench.escript CASE N COUNT
%% Idle services are simple_one_for_one children (what DynamicSupervisor is for sprag), named ones one_for_one children
%% with their own specification. The script is its own callback module for all of them.
-mode(compile).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2, handle_event/2, start_worker/1, terminate/2]).

-define(WARM_UP, 200).
-define(HOUR, 3600000).

main([Case, N]) -> main([Case, N, "100"]);
main([Case, N, Count]) ->
    process_flag(trap_exit, true),
    logger:set_primary_config(level, none),
    try run(Case, list_to_integer(N), list_to_integer(Count)) of
        {skip, Reason} -> io:format("{\"skip\": \"~s\"}~n", [Reason]);
        Metrics -> print(Metrics)
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "~p: ~0p ~0p~n", [Class, Reason, Stack]),
            halt(1)
    end,
    halt(0, [{flush, true}]).

print(Metrics) ->
    Pairs = [io_lib:format("\"~s\": ~.6f", [Name, float(Value)]) || {Name, Value} <- Metrics],
    io:format("{\"metrics\": {~s}, \"version\": \"OTP ~s, ~b schedulers\"}~n",
              [lists:join(", ", Pairs), erlang:system_info(otp_release), erlang:system_info(schedulers_online)]).

%% ---- cases

run("idle", N, _) ->
    start_and_stop(N, simple_one_for_one, fun(Sup, _) -> {ok, _} = supervisor:start_child(Sup, [none]) end);
run("named", N, _) ->
    start_and_stop(N, one_for_one, fun(Sup, I) -> {ok, _} = supervisor:start_child(Sup, spec(I, none)) end);
run("crash", N, Count) -> crash(one_for_one, N, Count, one_by_one);
run("crash-spawned", N, Count) -> crash(one_for_one, N, Count, one_by_one);
run("crash-dynamic", N, Count) -> crash(simple_one_for_one, N, Count, one_by_one);
run("crash-logged", N, Count) ->
    %% The default handler and its formatter, writing to a file that swallows everything.
    ok = logger:remove_handler(default),
    ok = logger:add_handler(default, logger_std_h, #{config => #{file => "/dev/null"}}),
    logger:set_primary_config(level, notice),
    crash(one_for_one, N, Count, one_by_one);
run("storm", N, Count) -> crash(one_for_one, N, Count, storm);
run("constancy", N, Count) -> constancy(N, Count);
run("emit", _, Count) ->
    {ok, Bus} = gen_event:start_link(),
    ok = gen_event:add_handler(Bus, ?MODULE, handler),
    Batch = fun() -> timed(fun() -> emit(Bus, Count) end) / Count end,
    Batch(),
    [{"emit_us", median([Batch() || _ <- lists:seq(1, 7)])}];
run("intervals", N, _) ->
    {ok, _} = timer:send_interval(?HOUR, tick),
    Before = settled(total),
    Taken = timed(fun() -> times(N, fun(_) -> {ok, _} = timer:send_interval(?HOUR, tick) end) end),
    Held = settled(total) - Before,
    [{"start_us", Taken / N}, {"bytes", Held / N}, {"greenlets", 0}];
run("snapshot", N, _) ->
    Sup = supervisor(simple_one_for_one),
    times(N, fun(_) -> {ok, _} = supervisor:start_child(Sup, [none]) end),
    Once = fun() -> timed(fun() -> N = length(supervisor:which_children(Sup)) end) / 1000 end,
    [{"total_ms", median([Once() || _ <- lists:seq(1, 3)])}];
run("import", _, _) -> {skip, "a running system is already loaded"};
run(_, _, _) -> {skip, "has no such case"}.

start_and_stop(N, Strategy, Start) ->
    Warm = supervisor(Strategy),
    times(?WARM_UP, fun(I) -> Start(Warm, I) end),
    stop(Warm),
    Sup = supervisor(Strategy),
    Before = settled(processes),
    BeforeRss = rss(),
    Started = timed(fun() -> times(N, fun(I) -> Start(Sup, I) end) end),
    AsLeft = erlang:memory(processes) - Before,
    AfterRss = rss(),
    Held = settled(processes) - Before,
    {N, N} = {N, proplists:get_value(active, supervisor:count_children(Sup))},
    Stopped = timed(fun() -> stop(Sup) end),
    [{"start_us", Started / N}, {"bytes", Held / N}, {"bytes_before_gc", AsLeft / N},
     {"bytes_rss", (AfterRss - BeforeRss) / N}, {"stop_us", Stopped / N}].

crash(Strategy, N, Count, How) ->
    Sup = supervisor(Strategy),
    Me = self(),
    Pids = case Strategy of
        simple_one_for_one ->
            [element(2, {ok, _} = supervisor:start_child(Sup, [Me])) || _ <- lists:seq(1, N)];
        one_for_one ->
            [element(2, {ok, _} = supervisor:start_child(Sup, spec(I, Me))) || I <- lists:seq(1, N)]
    end,
    forget_ups(),
    All = list_to_tuple(Pids),
    Warm = [element(1 + I * N div 50, All) || I <- lists:seq(0, 49)],
    Alive = list_to_tuple(tuple_to_list(All) -- Warm),
    lists:foreach(fun(Pid) -> crash_one(Pid) end, Warm),
    Victims = [element(1 + I * tuple_size(Alive) div Count, Alive) || I <- lists:seq(0, Count - 1)],
    erlang:garbage_collect(Sup),
    Taken = case How of
        one_by_one -> lists:sum([timed(fun() -> crash_one(Pid) end) || Pid <- Victims]);
        storm ->
            timed(fun() ->
                lists:foreach(fun(Pid) -> gen_server:cast(Pid, crash) end, Victims),
                lists:foreach(fun(_) -> receive {up, _} -> ok end end, Victims)
            end)
    end,
    {N, N} = {N, proplists:get_value(active, supervisor:count_children(Sup))},
    [{"crash_us", Taken / Count}].

%% What a start and a removal cost beside all siblings and beside few, as sprag_bench.py does it.
constancy(N, Count) ->
    Start = fun(Sup) -> fun(_) -> {ok, Pid} = supervisor:start_child(Sup, [none]), Pid end end,
    Warm = supervisor(simple_one_for_one),
    lists:foreach(Start(Warm), lists:seq(1, ?WARM_UP)),
    stop(Warm),
    Sup = supervisor(simple_one_for_one),
    {FewStart, First} = typical(Start(Sup), lists:seq(1, Count)),
    Between = lists:map(Start(Sup), lists:seq(1, N - 2 * Count)),
    {ManyStart, Last} = typical(Start(Sup), lists:seq(1, Count)),
    {N, N} = {N, proplists:get_value(active, supervisor:count_children(Sup))},
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    Remove = fun(Pid) -> ok = supervisor:terminate_child(Sup, Pid) end,
    {ManyRemove, _} = typical(Remove, First),
    lists:foreach(Remove, Between),
    {FewRemove, _} = typical(Remove, Last),
    [] = supervisor:which_children(Sup),
    stop(Sup),
    [{"start_ratio", ManyStart / FewStart}, {"remove_ratio", ManyRemove / FewRemove},
     {"few_start_us", FewStart}, {"many_start_us", ManyStart},
     {"many_remove_us", ManyRemove}, {"few_remove_us", FewRemove}].

%% The median time in µs of a call over twenty parts of the list, and what the calls have returned.
typical(Fun, List) ->
    {Times, Results} = lists:unzip(typical_parts(Fun, List, max(1, length(List) div 20))),
    {median(Times), lists:append(Results)}.

typical_parts(Fun, List, Size) when length(List) >= Size ->
    {Part, Rest} = lists:split(Size, List),
    Began = erlang:monotonic_time(),
    Results = [Fun(Item) || Item <- Part],
    Taken = erlang:convert_time_unit(erlang:monotonic_time() - Began, native, nanosecond) / 1000,
    [{Taken / Size, Results} | typical_parts(Fun, Rest, Size)];
typical_parts(_, _, _) -> [].

crash_one(Pid) ->
    gen_server:cast(Pid, crash),
    receive {up, _} -> ok end.

forget_ups() ->
    receive {up, _} -> forget_ups() after 0 -> ok end.

emit(_, 0) -> ok;
emit(Bus, Count) ->
    ok = gen_event:sync_notify(Bus, tick),
    emit(Bus, Count - 1).

%% ---- tools

supervisor(Strategy) ->
    {ok, Sup} = supervisor:start_link(?MODULE, {supervisor, Strategy}),
    Sup.

%% As its own parent would: the supervisor stops its children and we wait for its end.
stop(Sup) ->
    Ref = monitor(process, Sup),
    exit(Sup, shutdown),
    receive {'DOWN', Ref, process, Sup, shutdown} -> ok end.

spec(I, Tester) -> #{id => {service, I}, start => {?MODULE, start_worker, [Tester]}}.

start_worker(Tester) -> gen_server:start_link(?MODULE, {worker, Tester}, []).

times(0, _) -> ok;
times(I, Fun) -> Fun(I), times(I - 1, Fun).

%% µs
timed(Fun) ->
    Began = erlang:monotonic_time(),
    Fun(),
    erlang:convert_time_unit(erlang:monotonic_time() - Began, native, nanosecond) / 1000.

median(List) -> lists:nth((length(List) + 1) div 2, lists:sort(List)).

%% What the BEAM itself accounts for after every process has collected its garbage.
settled(What) ->
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    erlang:memory(What).

rss() ->
    case file:read_file("/proc/self/status") of
        {ok, Text} ->
            {match, [Kb]} = re:run(Text, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
            list_to_integer(Kb) * 1024;
        _ -> 0
    end.

%% ---- callbacks

init({supervisor, Strategy}) ->
    %% A limit that is never reached, in the shortest period there is: the supervisor keeps the restarts of one period.
    Flags = #{strategy => Strategy, intensity => 1000000000, period => 1},
    case Strategy of
        simple_one_for_one -> {ok, {Flags, [#{id => service, start => {?MODULE, start_worker, []}}]}};
        one_for_one -> {ok, {Flags, []}}
    end;
init({worker, none}) -> {ok, none};
init({worker, Tester}) -> Tester ! {up, self()}, {ok, none};
init(handler) -> {ok, 0}.

handle_call(_, _, State) -> {reply, ok, State}.

handle_cast(crash, _) -> error(boom).

handle_info(_, State) -> {noreply, State}.

handle_event(tick, Heard) -> {ok, Heard + 1}.

terminate(_, _) -> ok.
